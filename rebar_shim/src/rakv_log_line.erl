%% SPDX-License-Identifier: Apache-2.0
%% Reads a line of the program's log: its level, and the text without time and level, which logger adds itself.
-module(rakv_log_line).

-export([parse/1]).

%% "2026-01-31T12:00:00.123Z warning wal: slow disk" and "[12:00:00] [warning] wal: slow disk" both give
%% {warning, <<"wal: slow disk">>}. A line without a level among its first words is of level notice, as it is.
-spec parse(binary()) -> {logger:level(), binary()}.
parse(Line) ->
    find_level(Line, 4, Line).

find_level(_Rest, 0, Line) ->
    {notice, Line};
find_level(Rest, Words, Line) ->
    case binary:split(Rest, <<" ">>) of
        [Word, After] ->
            case level(string:trim(Word, both, "[]:")) of
                undefined -> find_level(After, Words - 1, Line);
                Level -> {Level, string:trim(After, leading, " ")}
            end;
        [_] ->
            {notice, Line}
    end.

level(Word) ->
    case string:lowercase(Word) of
        <<"trace">> -> debug;
        <<"debug">> -> debug;
        <<"info">> -> info;
        <<"notice">> -> notice;
        <<"warn">> -> warning;
        <<"warning">> -> warning;
        <<"error">> -> error;
        <<"critical">> -> critical;
        _ -> undefined
    end.
