%% SPDX-License-Identifier: Apache-2.0
%% Small disks that a test can fill: a tmpfs each, mounted with sudo where the suite is not run by root.
-module(small_disk).

-export([mount/2, unmount/1, fill_up/2, make_room/1, size/1]).

%% Mounts one of so many bytes on this folder, which is made if it is not there.
-spec mount(file:filename(), pos_integer()) -> ok.
mount(Dir, Bytes) ->
    ok = filelib:ensure_path(Dir),
    [Uid] = string:lexemes(os:cmd("id -u"), "\n"),
    as_root(["mount -t tmpfs -o mode=755,uid=", Uid, ",size=", integer_to_list(Bytes), " tmpfs ", Dir]).

%% What is on it is gone.
-spec unmount(file:filename()) -> ok.
unmount(Dir) ->
    as_root(["umount ", Dir]).

%% Leaves so many bytes, within a file system's block.
-spec fill_up(file:filename(), non_neg_integer()) -> ok.
fill_up(Dir, Left) ->
    %% The node may take some of it meanwhile: then this stops where nothing is left.
    _ = os:cmd(["head -c ", integer_to_list(max(blocks(Dir, "%a") - Left, 0)), " /dev/zero > ", filler(Dir)]),
    ok.

-spec make_room(file:filename()) -> ok.
make_room(Dir) -> file:delete(filler(Dir)).

%% In bytes, free ones or not.
-spec size(file:filename()) -> pos_integer().
size(Dir) -> blocks(Dir, "%b").

blocks(Dir, Which) ->
    [Blocks, BlockBytes] = string:lexemes(os:cmd("stat -f -c '" ++ Which ++ " %S' " ++ Dir), " \n"),
    list_to_integer(Blocks) * list_to_integer(BlockBytes).

filler(Dir) -> filename:join(Dir, "filler").

as_root(Command) ->
    Sudo = case string:trim(os:cmd("id -u")) of
               "0" -> "";
               _ -> "sudo -n "
           end,
    case os:cmd([Sudo, Command, " && echo done"]) of
        "done\n" -> ok;
        Output -> ct:fail("~ts: ~ts", [Command, Output])
    end.
