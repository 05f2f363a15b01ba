%% SPDX-License-Identifier: Apache-2.0
%% Whether what clients saw of one key can be told as one order of events, each between its call and its return: the
%% algorithm of Wing and Gong (1993) with Lowe's memoisation (2017), taken return by return.
%%
%% A history is a list of {Call, Return, What}: times of one clock, and {write, Value} or {read, Value}. No value may be
%% written twice. A key that nobody has written yet is read as `undefined`. The return of a write whose outcome is not known
%% is `infinity`. A read whose outcome is not known says nothing: leave it out.
-module(linearizability).

-export([check/1]).
-export_type([operation/0]).

-type operation() :: {Call :: integer(), Return :: integer() | infinity, {write | read, term()}}.

%% Violation: the operation that no order has a place for, and those that were under way with it.
-spec check([operation()]) -> ok | {violation, #{operation := operation(), values := [term()], beside := [operation()]}}.
check(History) ->
    Numbered = lists:enumerate(known_outcomes(History)),
    Events = lists:sort(lists:append([[{Call, 0, Id, Operation}, {Return, 1, Id, Operation}]
                                      || {Id, {Call, Return, _} = Operation} <- Numbered])),
    follow(Events, #{}, #{{undefined, []} => true}).

%% A write of unknown outcome that nobody read may as well not have been. One that was read had happened when the first
%% of those reads returned.
known_outcomes(History) ->
    FirstRead = lists:foldl(fun({_, Return, {read, Value}}, Seen) ->
                                    maps:update_with(Value, fun(Other) -> min(Other, Return) end, Return, Seen);
                               (_, Seen) -> Seen
                            end, #{}, History),
    lists:filtermap(fun({Call, infinity, {write, Value} = What}) ->
                            case FirstRead of
                                #{Value := Return} -> {true, {Call, max(Call, Return), What}};
                                #{} -> false
                            end;
                       (_) -> true
                    end, History).

%% Configurations: the value, and which of the operations under way have happened already.
follow([], _UnderWay, _Configurations) ->
    ok;
follow([{_, 0, Id, Operation} | Events], UnderWay, Configurations) ->
    follow(Events, UnderWay#{Id => Operation}, Configurations);
follow([{_, 1, Id, Operation} | Events], UnderWay, Configurations) ->
    case having_happened(Id, UnderWay, maps:keys(Configurations), #{}, #{}) of
        Next when map_size(Next) > 0 ->
            follow(Events, maps:remove(Id, UnderWay), Next);
        _ ->
            {violation, #{operation => Operation, values => lists:usort([Value || {Value, _} <- maps:keys(Configurations)]),
                          beside => maps:values(maps:remove(Id, UnderWay))}}
    end.

%% From each configuration every order of operations under way that ends with this one.
having_happened(_Id, _UnderWay, [], _Seen, Found) ->
    Found;
having_happened(Id, UnderWay, [{Value, Happened} = Configuration | Rest], Seen, Found) ->
    case {Seen, lists:member(Id, Happened)} of
        {#{Configuration := _}, _} ->
            having_happened(Id, UnderWay, Rest, Seen, Found);
        {_, true} ->
            having_happened(Id, UnderWay, Rest, Seen#{Configuration => true},
                            Found#{{Value, lists:delete(Id, Happened)} => true});
        {_, false} ->
            Next = [{After, ordsets:add_element(Other, Happened)}
                    || {Other, {_, _, What}} <- maps:to_list(UnderWay), not lists:member(Other, Happened),
                       {true, After} <- [happens(What, Value)]],
            having_happened(Id, UnderWay, Next ++ Rest, Seen#{Configuration => true}, Found)
    end.

happens({write, After}, _Value) -> {true, After};
happens({read, Value}, Value) -> {true, Value};
happens({read, _}, _Value) -> false.
