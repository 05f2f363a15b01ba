# SPDX-License-Identifier: Apache-2.0
# Puts and gets values of a ra_kv cluster from Elixir, without ra. See ../README.md.
#
#   elixir kv_client.exs OWN_NAME COOKIE SERVER NODE put KEY < value
#   elixir kv_client.exs OWN_NAME COOKIE SERVER NODE get KEY > value
defmodule KvClient do
  @timeout 30_000
  @max_redirects 10

  def put(server, key, value) do
    meta = %{size: :erlang.external_size(value), hash: :erlang.phash2(value)}
    command = {:put, key, value, meta}

    case leader_call(server, {:command, :normal, {:"$usr", command, :await_consensus}}) do
      {:ok, {:ok, %{index: index}}, _leader} -> {:ok, index}
      other -> {:error, other}
    end
  end

  def get(server, key) do
    case leader_call(server, {:consistent_aux, {:get, key}}) do
      {:ok, {:ok, index, members}, {_, node} = leader} ->
        case :erpc.call(node, :ra_kv, :read_entry, [leader, index, members, @timeout]) do
          {:ok, _meta, value} -> {:ok, value}
          other -> {:error, other}
        end

      {:ok, {:error, :not_found}, _leader} -> :not_found
      other -> {:error, other}
    end
  end

  # A call to the cluster's leader, whoever that is: gives {:ok, reply, leader}.
  defp leader_call(server, request, redirects \\ 0)
  defp leader_call(_, _, @max_redirects), do: {:error, :no_leader}

  defp leader_call(server, request, redirects) do
    case :gen_statem.call(server, {:leader_call, request}, @timeout) do
      {:redirect, leader} -> leader_call(leader, request, redirects + 1)
      {:wrap_reply, reply} -> {:ok, reply, server}
      other -> other
    end
  end

  def main([own_name, cookie, server, node, action, key]) when action in ["put", "get"] do
    {:ok, _} = Node.start(String.to_atom(own_name), :shortnames)
    Node.set_cookie(String.to_atom(cookie))
    server = {String.to_atom(server), String.to_atom(node)}
    :io.setopts(:standard_io, encoding: :latin1, binary: true)

    unless Node.connect(elem(server, 1)) do
      fail("cannot connect with #{node}: is it running, is the cookie right?")
    end

    case action do
      "put" ->
        case put(server, key, read_all()) do
          {:ok, index} -> IO.puts(index)
          {:error, why} -> fail("the cluster answered #{inspect(why)}")
        end

      "get" ->
        case get(server, key) do
          {:ok, value} -> IO.binwrite(value)
          :not_found -> fail("no such key", 3)
          {:error, why} -> fail("the cluster answered #{inspect(why)}")
        end
    end
  end

  def main(_) do
    fail("usage: kv_client.exs OWN_NAME COOKIE SERVER NODE put|get KEY", 2)
  end

  defp read_all do
    case IO.binread(:stdio, :eof) do
      :eof -> ""
      bytes -> bytes
    end
  end

  defp fail(text, status \\ 1) do
    IO.puts(:stderr, "kv_client: #{text}")
    System.halt(status)
  end
end

KvClient.main(System.argv())
