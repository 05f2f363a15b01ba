// SPDX-License-Identifier: Apache-2.0
// Puts and gets values of a ra_kv cluster from Java, with Jinterface. See ../README.md.
//
//   KvClient OWN_NAME COOKIE SERVER NODE put KEY < value
//   KvClient OWN_NAME COOKIE SERVER NODE get KEY > value

import com.ericsson.otp.erlang.OtpErlangAtom;
import com.ericsson.otp.erlang.OtpErlangBinary;
import com.ericsson.otp.erlang.OtpErlangInt;
import com.ericsson.otp.erlang.OtpErlangList;
import com.ericsson.otp.erlang.OtpErlangLong;
import com.ericsson.otp.erlang.OtpErlangMap;
import com.ericsson.otp.erlang.OtpErlangObject;
import com.ericsson.otp.erlang.OtpErlangRef;
import com.ericsson.otp.erlang.OtpErlangTuple;
import com.ericsson.otp.erlang.OtpMbox;
import com.ericsson.otp.erlang.OtpNode;
import java.nio.charset.StandardCharsets;

public final class KvClient {
  static final int TIMEOUT_MS = 30000;
  static final int PING_MS = 5000;
  static final int MAX_REDIRECTS = 10;

  private final OtpNode self;
  private final OtpMbox mailbox;
  private String server;
  private String node;

  private KvClient(OtpNode self, String server, String node) {
    this.self = self;
    this.mailbox = self.createMbox();
    this.server = server;
    this.node = node;
  }

  private static final class Failure extends Exception {
    Failure(String message) {
      super(message);
    }
  }

  private static OtpErlangAtom atom(String name) {
    return new OtpErlangAtom(name);
  }

  private static OtpErlangTuple tuple(OtpErlangObject... elements) {
    return new OtpErlangTuple(elements);
  }

  /** The elements of a tuple that begins with the atom `tag`, else null. */
  private static OtpErlangObject[] tagged(OtpErlangObject term, String tag) {
    if (!(term instanceof OtpErlangTuple)) return null;
    final OtpErlangObject[] elements = ((OtpErlangTuple) term).elements();
    return elements.length > 0 && elements[0].equals(atom(tag)) ? elements : null;
  }

  private static OtpErlangObject[] expectOk(OtpErlangObject term) throws Failure {
    final OtpErlangObject[] ok = tagged(term, "ok");
    if (ok == null) throw new Failure("the cluster answered " + term);
    return ok;
  }

  /** gen_statem:call/3: sends {'$gen_call', {Self, Tag}, Request} and waits for {Tag, Reply}. */
  private OtpErlangObject call(String name, OtpErlangObject request) throws Exception {
    if (!self.ping(node, PING_MS)) {
      throw new Failure("cannot connect with " + node + ": is it running, is the cookie right?");
    }
    final OtpErlangRef tag = self.createRef();
    mailbox.send(name, node, tuple(atom("$gen_call"), tuple(mailbox.self(), tag), request));
    final long deadline = System.currentTimeMillis() + TIMEOUT_MS;
    for (long left = TIMEOUT_MS; left > 0; left = deadline - System.currentTimeMillis()) {
      final OtpErlangObject message = mailbox.receive(left);
      if (!(message instanceof OtpErlangTuple)) continue;
      final OtpErlangObject[] elements = ((OtpErlangTuple) message).elements();
      if (elements.length == 2 && elements[0].equals(tag)) return elements[1];
    }
    throw new Failure("no answer from " + node + ": the request may have been carried out or not");
  }

  /** A call to the cluster's leader, whoever that is. */
  private OtpErlangObject leaderCall(OtpErlangObject request) throws Exception {
    for (int i = 0; i < MAX_REDIRECTS; ++i) {
      final OtpErlangObject reply = call(server, tuple(atom("leader_call"), request));
      final OtpErlangObject[] wrapped = tagged(reply, "wrap_reply");
      if (wrapped != null) return wrapped[1];
      final OtpErlangObject[] redirect = tagged(reply, "redirect");
      if (redirect == null) return reply;
      final OtpErlangObject[] leader = ((OtpErlangTuple) redirect[1]).elements();
      server = ((OtpErlangAtom) leader[0]).atomValue();
      node = ((OtpErlangAtom) leader[1]).atomValue();
    }
    throw new Failure("sent from member to member: the cluster has no leader");
  }

  private void put(byte[] key, byte[] value) throws Exception {
    final OtpErlangMap meta = new OtpErlangMap();
    meta.put(atom("size"), new OtpErlangLong(value.length + 6)); // erlang:external_size/1
    meta.put(atom("hash"), new OtpErlangLong(phash2(value)));
    final OtpErlangTuple command =
        tuple(atom("put"), new OtpErlangBinary(key), new OtpErlangBinary(value), meta);
    final OtpErlangObject reply =
        leaderCall(tuple(atom("command"), atom("normal"),
                         tuple(atom("$usr"), command, atom("await_consensus"))));
    final OtpErlangMap result = (OtpErlangMap) expectOk(reply)[1];
    System.out.println(result.get(atom("index")));
  }

  private int get(byte[] key) throws Exception {
    final OtpErlangObject reply =
        leaderCall(tuple(atom("consistent_aux"), tuple(atom("get"), new OtpErlangBinary(key))));
    final OtpErlangObject[] error = tagged(reply, "error");
    if (error != null && error[1].equals(atom("not_found"))) {
      System.err.println("KvClient: no such key");
      return 3;
    }
    // {ok, Index, Members}: the entry is read from the leader's log by ra_kv:read_entry/4.
    final OtpErlangObject[] found = expectOk(reply);
    final OtpErlangList arguments =
        new OtpErlangList(new OtpErlangObject[] {tuple(atom(server), atom(node)), found[1],
                                                 found[2], new OtpErlangInt(TIMEOUT_MS)});
    final OtpErlangObject read = call("rex", tuple(atom("call"), atom("ra_kv"), atom("read_entry"),
                                                   arguments, atom("user")));
    final byte[] value = ((OtpErlangBinary) expectOk(read)[2]).binaryValue();
    System.out.write(value, 0, value.length);
    System.out.flush();
    return 0;
  }

  /** erlang:phash2/1 of a binary: ra_kv keeps it beside every value. */
  static int phash2(byte[] bytes) {
    final int golden = 0x9e3779b9;
    final int mask = (1 << 27) - 1;
    final int[] abc = {golden, golden, 13 * golden};
    if (bytes.length == 0) return abc[2] & mask;
    int at = 0;
    for (; bytes.length - at >= 12; at += 12) {
      for (int i = 0; i < 3; ++i) abc[i] += littleEndian(bytes, at + 4 * i);
      mix(abc);
    }
    final byte[] rest = new byte[12];
    System.arraycopy(bytes, at, rest, 0, bytes.length - at);
    abc[0] += littleEndian(rest, 0);
    abc[1] += littleEndian(rest, 4);
    abc[2] += bytes.length + (littleEndian(rest, 8) << 8);
    mix(abc);
    return abc[2] & mask;
  }

  private static int littleEndian(byte[] bytes, int at) {
    return (bytes[at] & 255) | (bytes[at + 1] & 255) << 8 | (bytes[at + 2] & 255) << 16
        | (bytes[at + 3] & 255) << 24;
  }

  private static void mix(int[] abc) {
    final int[][] shifts = {{13, 8, 13}, {12, 16, 5}, {3, 10, 15}};
    for (final int[] shift : shifts) {
      abc[0] = (abc[0] - abc[1] - abc[2]) ^ (abc[2] >>> shift[0]);
      abc[1] = (abc[1] - abc[2] - abc[0]) ^ (abc[0] << shift[1]);
      abc[2] = (abc[2] - abc[0] - abc[1]) ^ (abc[1] >>> shift[2]);
    }
  }

  public static void main(String[] args) throws Exception {
    if (args.length != 6 || !(args[4].equals("put") || args[4].equals("get"))) {
      System.err.println("usage: KvClient OWN_NAME COOKIE SERVER NODE put|get KEY");
      System.exit(2);
    }
    int status = 1;
    final OtpNode self = new OtpNode(args[0], args[1]);
    try {
      final KvClient client = new KvClient(self, args[2], args[3]);
      final byte[] key = args[5].getBytes(StandardCharsets.UTF_8);
      if (args[4].equals("put")) {
        client.put(key, System.in.readAllBytes());
        status = 0;
      } else {
        status = client.get(key);
      }
    } catch (Failure failure) {
      System.err.println("KvClient: " + failure.getMessage());
    } finally {
      self.close();
    }
    System.exit(status);
  }
}
