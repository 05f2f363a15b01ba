%% SPDX-License-Identifier: Apache-2.0
%% A client of a ra_kv cluster in plain Erlang: what ra_kv's put, get and delete send, without ra on the code path.
%% It is what a service on an older OTP does, where ra itself does not build. Runs on OTP 25 and later.
-module(plain_kv_client).

-export([put/4, get/3, delete/3, members/2]).

-type server_id() :: {atom(), node()}.

%% Like ra_kv:put/4.
-spec put(server_id(), binary(), term(), timeout()) -> {ok, map()} | {error, term()} | {timeout, server_id()}.
put(ServerId, Key, Value, Timeout) ->
    Meta = #{size => erlang:external_size(Value), hash => erlang:phash2(Value)},
    case command(ServerId, {put, Key, Value, Meta}, Timeout) of
        {ok, {ok, Reply}, Leader} -> {ok, Reply#{leader => Leader}};
        Other -> Other
    end.

%% Like ra_kv:get/3 from a node that is no member: asks the leader for the index, then for its entry.
-spec get(server_id(), binary(), timeout()) -> {ok, map(), term()} | {error, term()} | {timeout, server_id()}.
get(ServerId, Key, Timeout) ->
    case call(ServerId, {leader_call, {consistent_aux, {get, Key}}}, Timeout) of
        {ok, {ok, Index, Members}, {_, Node} = Leader} ->
            try erpc:call(Node, ra_kv, read_entry, [Leader, Index, Members, Timeout])
            catch Class:Reason -> {error, {Class, Reason}}
            end;
        {ok, Error, _} -> Error;
        Other -> Other
    end.

%% Like ra_kv:delete/3.
-spec delete(server_id(), binary(), timeout()) -> {ok, map()} | {error, term()} | {timeout, server_id()}.
delete(ServerId, Key, Timeout) ->
    case command(ServerId, {delete, Key}, Timeout) of
        {ok, {ok, Reply}, Leader} -> {ok, Reply#{leader => Leader}};
        {ok, {error, not_found}, Leader} -> {error, {not_found, Leader}};
        Other -> Other
    end.

%% Like ra:members/2.
-spec members(server_id(), timeout()) -> {ok, [server_id()], server_id()} | {error, term()} | {timeout, server_id()}.
members(ServerId, Timeout) ->
    call(ServerId, {leader_call, {state_query, members}}, Timeout).

command(ServerId, Command, Timeout) ->
    call(ServerId, {leader_call, {command, normal, {'$usr', Command, await_consensus}}}, Timeout).

call(ServerId, Request, Timeout) ->
    try gen_statem:call(ServerId, Request, Timeout) of
        {redirect, Leader} -> call(Leader, Request, Timeout);
        {wrap_reply, Reply} -> {ok, Reply, ServerId};
        Reply -> Reply
    catch
        exit:{timeout, _} -> {timeout, ServerId};
        exit:{noproc, _} -> {error, noproc};
        exit:{{nodedown, _}, _} -> {error, nodedown};
        exit:{Reason, _} -> {error, Reason}
    end.
