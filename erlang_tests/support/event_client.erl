%% SPDX-License-Identifier: Apache-2.0
%% A client of ra events, for ra_functions_SUITE: what a server with an ra_event_formatter sends.
-module(event_client).

-export([format/3, pipelined/2, event/3]).

-define(MS, 10000).

%% The formatter.
-spec format({atom(), node()}, term(), term()) -> term().
format(Server, Event, Extra) -> {formatted, Server, Event, Extra}.

%% Sends puts and gives the correlations as they are acknowledged.
-spec pipelined({atom(), node()}, pos_integer()) -> {ok, [integer()]} | {error, term()}.
pipelined(Server, Count) ->
    [ok = ra:pipeline_command(Server, {put, Number, Number, #{size => 3, hash => erlang:phash2(Number)}}, Number, normal)
     || Number <- lists:seq(1, Count)],
    collect(Server, Count, []).

collect(_Server, 0, Done) -> {ok, Done};
collect(Server, Left, Done) ->
    receive
        {formatted, Server, {applied, Replies}, extra} ->
            collect(Server, Left - length(Replies), Done ++ [Correlation || {Correlation, {ok, _}} <- Replies]);
        Other ->
            {error, {Other, Left}}
    after ?MS ->
        {error, {missing, Left}}
    end.

%% The event that a command brings.
-spec event({atom(), node()}, term(), term()) -> term().
event(Server, Command, Correlation) ->
    ok = ra:pipeline_command(Server, Command, Correlation, normal),
    receive {ra_event, _, Event} -> Event after 3000 -> none end.
