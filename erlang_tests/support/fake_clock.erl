%% SPDX-License-Identifier: Apache-2.0
%% Wall clocks of single programs that a test can set, with libfaketime (the package `faketime`). Monotonic clocks, and with
%% them all timers, go on as they are.
-module(fake_clock).

-export([env/1, set/2, clean/1]).

%% What a program's environment needs, and the file that says how far off its clock is. The file is read again every second.
-spec env(file:filename()) -> [{string(), string()}].
env(File) ->
    filelib:is_regular(File) orelse set(File, 0),
    [{"LD_PRELOAD", library()}, {"FAKETIME_TIMESTAMP_FILE", File}, {"FAKETIME_DONT_FAKE_MONOTONIC", "1"},
     {"FAKETIME_CACHE_DURATION", "1"}].

%% From within a second on the clock is so many seconds off.
-spec set(file:filename(), integer()) -> ok.
set(File, Seconds) ->
    ok = file:write_file(File ++ ".new", io_lib:format("~s~b~n", [[$+ || Seconds >= 0], Seconds])),
    file:rename(File ++ ".new", File).

%% Removes what a process that was killed left in the system's shared memory.
-spec clean(OsPid :: string()) -> ok.
clean(OsPid) ->
    [_ = file:delete("/dev/shm/" ++ Prefix ++ OsPid) || Prefix <- ["faketime_shm_", "sem.faketime_sem_"]],
    ok.

library() ->
    case filelib:wildcard("/usr/lib/*/faketime/libfaketimeMT.so.1") of
        [Library | _] -> Library;
        [] -> ct:fail("there is no libfaketime: install the package faketime (scripts/setup.sh does)")
    end.
