%% SPDX-License-Identifier: Apache-2.0
%% A machine of ra's (behaviour ra_machine) that rakv does not know.
-module(other_machine).

-export([init/1, apply/3]).

init(_Config) -> 0.

apply(_Meta, _Command, State) -> {State + 1, ok}.
