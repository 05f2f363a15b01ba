/* SPDX-License-Identifier: Apache-2.0 */
/* Puts and gets values of a ra_kv cluster from C, with Erlang's library ei. See ../README.md.
 *
 *   kv_client OWN_NAME COOKIE SERVER NODE put KEY < value
 *   kv_client OWN_NAME COOKIE SERVER NODE get KEY > value
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ei.h>

#define TIMEOUT_MS 30000
#define MAX_REDIRECTS 10

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("kv_client: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(1);
}

/* ---- erlang:phash2/1 of a binary: ra_kv keeps it beside every value. ---- */

static uint32_t little_endian(const unsigned char *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void mix(uint32_t *a, uint32_t *b, uint32_t *c) {
  static const int shift[3][3] = {{13, 8, 13}, {12, 16, 5}, {3, 10, 15}};
  for (int i = 0; i < 3; ++i) {
    *a = (*a - *b - *c) ^ (*c >> shift[i][0]);
    *b = (*b - *c - *a) ^ (*a << shift[i][1]);
    *c = (*c - *a - *b) ^ (*b >> shift[i][2]);
  }
}

static uint32_t phash2_binary(const unsigned char *bytes, size_t size) {
  const uint32_t golden = 0x9e3779b9u;
  const uint32_t mask = (1u << 27) - 1;
  uint32_t a = golden, b = golden, c = 13 * golden;
  unsigned char rest[12] = {0};
  size_t left = size;
  if (size == 0) return c & mask;
  for (; left >= 12; left -= 12, bytes += 12) {
    a += little_endian(bytes);
    b += little_endian(bytes + 4);
    c += little_endian(bytes + 8);
    mix(&a, &b, &c);
  }
  memcpy(rest, bytes, left);
  c += (uint32_t)size;
  a += little_endian(rest);
  b += little_endian(rest + 4);
  c += little_endian(rest + 8) << 8;
  mix(&a, &b, &c);
  return c & mask;
}

/* ---- calls ---- */

struct member {
  char server[MAXATOMLEN_UTF8];
  char node[MAXATOMLEN_UTF8];
  int fd; /* -1 while not connected */
};

static void connect_member(ei_cnode *self, struct member *member) {
  member->fd = ei_connect_tmo(self, member->node, TIMEOUT_MS);
  if (member->fd < 0) die("cannot connect with %s (error %d): is it running, is the cookie right?", member->node, erl_errno);
}

/* Reads {ok, ...}, {error, ...} and the like: the tuple's arity, its first element into `tag`; `index` stands behind it. */
static int read_tagged(const char *term, int *index, char *tag) {
  int arity = 0;
  int start = *index;
  if (ei_decode_tuple_header(term, index, &arity) < 0 || arity < 1 || ei_decode_atom(term, index, tag) < 0) {
    *index = start;
    return 0;
  }
  return arity;
}

/* gen_statem:call/3: sends {'$gen_call', {Self, Tag}, Request} and waits for {Tag, Reply}. `request` is an encoded term
 * without version byte. The reply is left in `reply`; gives the index at which it begins. */
static int call(ei_cnode *self, struct member *to, const ei_x_buff *request, ei_x_buff *reply) {
  erlang_ref tag, answered;
  erlang_msg message;
  ei_x_buff out;
  const time_t deadline = time(NULL) + TIMEOUT_MS / 1000;

  if (to->fd < 0) connect_member(self, to);
  if (ei_make_ref(self, &tag) < 0) die("cannot make a reference");
  ei_x_new_with_version(&out);
  ei_x_encode_tuple_header(&out, 3);
  ei_x_encode_atom(&out, "$gen_call");
  ei_x_encode_tuple_header(&out, 2);
  ei_x_encode_pid(&out, ei_self(self));
  ei_x_encode_ref(&out, &tag);
  ei_x_append(&out, request);
  if (ei_reg_send_tmo(self, to->fd, to->server, out.buff, out.index, TIMEOUT_MS) < 0)
    die("cannot send to %s (error %d)", to->node, erl_errno);
  ei_x_free(&out);

  while (time(NULL) < deadline) {
    int index = 0, version = 0, arity = 0;
    reply->index = 0;
    const int got = ei_xreceive_msg_tmo(to->fd, &message, reply, 1000);
    if (got == ERL_TICK || (got == ERL_ERROR && erl_errno == ETIMEDOUT)) continue;
    if (got == ERL_ERROR) die("the connection with %s is lost (error %d)", to->node, erl_errno);
    /* Somebody else's message, or a late answer: not for us. */
    if (message.msgtype != ERL_SEND && message.msgtype != ERL_REG_SEND) continue;
    if (ei_decode_version(reply->buff, &index, &version) < 0) continue;
    if (ei_decode_tuple_header(reply->buff, &index, &arity) < 0 || arity != 2) continue;
    if (ei_decode_ref(reply->buff, &index, &answered) < 0) continue;
    if (ei_cmp_refs(&tag, &answered) == 0) return index;
  }
  die("no answer from %s in %d ms: the request may have been carried out or not", to->node, TIMEOUT_MS);
  return 0;
}

/* A call to the cluster's leader, whoever that is; `to` is the leader afterwards. */
static int leader_call(ei_cnode *self, struct member *to, const ei_x_buff *request, ei_x_buff *reply) {
  char tag[MAXATOMLEN_UTF8];
  for (int i = 0; i < MAX_REDIRECTS; ++i) {
    int index = call(self, to, request, reply);
    int inside = index;
    const int arity = read_tagged(reply->buff, &inside, tag);
    if (arity == 2 && strcmp(tag, "wrap_reply") == 0) return inside;
    if (arity == 2 && strcmp(tag, "redirect") == 0) {
      int two = 0;
      char node[MAXATOMLEN_UTF8];
      if (ei_decode_tuple_header(reply->buff, &inside, &two) < 0 || two != 2 || ei_decode_atom(reply->buff, &inside, to->server) < 0 ||
          ei_decode_atom(reply->buff, &inside, node) < 0)
        die("a redirect that is no server id");
      if (strcmp(node, to->node) != 0) {
        ei_close_connection(to->fd);
        strcpy(to->node, node);
        to->fd = -1;
      }
      continue;
    }
    return index;
  }
  die("sent from member to member %d times: the cluster has no leader", MAX_REDIRECTS);
  return 0;
}

/* Ends the program with what the cluster said instead of ok. */
static void refuse(const char *term, int index) {
  char *text = NULL;
  if (ei_s_print_term(&text, term, &index) < 0) die("an answer that cannot be printed");
  die("the cluster answered %s", text);
}

/* Gives the index behind `ok` in {ok, ...}. */
static int expect_ok(const char *term, int index) {
  char tag[MAXATOMLEN_UTF8];
  int inside = index;
  if (read_tagged(term, &inside, tag) == 0 || strcmp(tag, "ok") != 0) refuse(term, index);
  return inside;
}

/* ---- put and get ---- */

static void put(ei_cnode *self, struct member *member, const char *key, const unsigned char *value, size_t size) {
  ei_x_buff request, reply;
  int index, pairs = 0;
  char name[MAXATOMLEN_UTF8];

  /* {leader_call, {command, normal, {'$usr', {put, Key, Value, #{size, hash}}, await_consensus}}} */
  ei_x_new(&request);
  ei_x_encode_tuple_header(&request, 2);
  ei_x_encode_atom(&request, "leader_call");
  ei_x_encode_tuple_header(&request, 3);
  ei_x_encode_atom(&request, "command");
  ei_x_encode_atom(&request, "normal");
  ei_x_encode_tuple_header(&request, 3);
  ei_x_encode_atom(&request, "$usr");
  ei_x_encode_tuple_header(&request, 4);
  ei_x_encode_atom(&request, "put");
  ei_x_encode_binary(&request, key, strlen(key));
  ei_x_encode_binary(&request, value, size);
  ei_x_encode_map_header(&request, 2);
  ei_x_encode_atom(&request, "size"); /* erlang:external_size/1 */
  ei_x_encode_ulong(&request, size + 6);
  ei_x_encode_atom(&request, "hash");
  ei_x_encode_ulong(&request, phash2_binary(value, size));
  ei_x_encode_atom(&request, "await_consensus");

  /* {ok, #{index := Index}} */
  ei_x_new(&reply);
  index = expect_ok(reply.buff, leader_call(self, member, &request, &reply));
  if (ei_decode_map_header(reply.buff, &index, &pairs) < 0) refuse(reply.buff, index);
  for (; pairs > 0; --pairs) {
    unsigned long number = 0;
    if (ei_decode_atom(reply.buff, &index, name) < 0) break;
    if (strcmp(name, "index") == 0 && ei_decode_ulong(reply.buff, &index, &number) == 0) {
      printf("%lu\n", number);
      break;
    }
    ei_skip_term(reply.buff, &index);
  }
  ei_x_free(&request);
  ei_x_free(&reply);
}

/* Gives 0, or 3 when there is no such key. */
static int get(ei_cnode *self, struct member *member, const char *key) {
  ei_x_buff request, reply, arguments;
  char tag[MAXATOMLEN_UTF8];
  int index, after, type = 0, size = 0, inside;
  long length = 0;
  char *value;

  /* {leader_call, {consistent_aux, {get, Key}}} asks for the index of the key's entry. */
  ei_x_new(&request);
  ei_x_encode_tuple_header(&request, 2);
  ei_x_encode_atom(&request, "leader_call");
  ei_x_encode_tuple_header(&request, 2);
  ei_x_encode_atom(&request, "consistent_aux");
  ei_x_encode_tuple_header(&request, 2);
  ei_x_encode_atom(&request, "get");
  ei_x_encode_binary(&request, key, strlen(key));
  ei_x_new(&reply);
  index = leader_call(self, member, &request, &reply);
  inside = index;
  if (read_tagged(reply.buff, &inside, tag) == 2 && strcmp(tag, "error") == 0 &&
      ei_decode_atom(reply.buff, &inside, tag) == 0 && strcmp(tag, "not_found") == 0) {
    fputs("kv_client: no such key\n", stderr);
    return 3;
  }

  /* {ok, Index, Members}: the entry is read from the leader's log by a remote call, ra_kv:read_entry/4. */
  index = expect_ok(reply.buff, index);
  after = index;
  ei_skip_term(reply.buff, &after);
  ei_skip_term(reply.buff, &after);
  ei_x_new(&arguments);
  ei_x_encode_list_header(&arguments, 4);
  ei_x_encode_tuple_header(&arguments, 2);
  ei_x_encode_atom(&arguments, member->server);
  ei_x_encode_atom(&arguments, member->node);
  ei_x_append_buf(&arguments, reply.buff + index, after - index);
  ei_x_encode_long(&arguments, TIMEOUT_MS);
  ei_x_encode_empty_list(&arguments);
  reply.index = 0;
  if (ei_rpc(self, member->fd, "ra_kv", "read_entry", arguments.buff, arguments.index, &reply) < 0)
    die("the remote call to %s failed (error %d)", member->node, erl_errno);

  /* {ok, Meta, Value} */
  index = 0;
  inside = expect_ok(reply.buff, index);
  ei_skip_term(reply.buff, &inside);
  if (ei_get_type(reply.buff, &inside, &type, &size) < 0 || type != ERL_BINARY_EXT) die("the value is no binary");
  value = malloc(size > 0 ? size : 1);
  if (value == NULL || ei_decode_binary(reply.buff, &inside, value, &length) < 0) die("the value cannot be read");
  if (fwrite(value, 1, length, stdout) != (size_t)length || fflush(stdout) != 0) die("cannot write the value");
  free(value);
  ei_x_free(&arguments);
  ei_x_free(&request);
  ei_x_free(&reply);
  return 0;
}

static unsigned char *read_all(size_t *size) {
  size_t capacity = 1 << 16;
  unsigned char *bytes = malloc(capacity);
  *size = 0;
  while (bytes != NULL) {
    const size_t count = fread(bytes + *size, 1, capacity - *size, stdin);
    if (count == 0) break;
    *size += count;
    if (*size == capacity) bytes = realloc(bytes, capacity *= 2);
  }
  if (bytes == NULL) die("out of memory");
  return bytes;
}

int main(int argc, char **argv) {
  ei_cnode self;
  struct member member = {.fd = -1};
  int status = 0;

  if (argc != 7 || (strcmp(argv[5], "put") != 0 && strcmp(argv[5], "get") != 0)) {
    fputs("usage: kv_client OWN_NAME COOKIE SERVER NODE put|get KEY\n", stderr);
    return 2;
  }
  if (strlen(argv[3]) >= sizeof member.server || strlen(argv[4]) >= sizeof member.node) die("a name is too long");
  strcpy(member.server, argv[3]);
  strcpy(member.node, argv[4]);
  ei_init();
  /* The creation tells this node from earlier ones of its name. */
  if (ei_connect_init(&self, argv[1], argv[2], (unsigned)time(NULL) ^ (unsigned)getpid() << 16) < 0)
    die("cannot be the node %s", argv[1]);
  connect_member(&self, &member);
  if (strcmp(argv[5], "put") == 0) {
    size_t size = 0;
    unsigned char *value = read_all(&size);
    put(&self, &member, argv[6], value, size);
    free(value);
  } else {
    status = get(&self, &member, argv[6]);
  }
  ei_close_connection(member.fd);
  return status;
}
