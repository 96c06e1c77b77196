/* Replays the golden vectors `udx-packets.json`: what one stream does with crafted packets (group reaction) and whole
   recorded sessions (group session), each session once in the place of every recorded role.
     udx_vectors FILE [ID ...]
   The recorded peer is a raw peer that sends the recorded bytes; the stream under test must answer compatibly: the same
   stream bytes under the same seqs, the same events, and acknowledgements that cover at least as much. ACK frequency,
   SACK completeness and retransmissions are free (udx.md 10.3 of the specification). */
#include "vectors.h"

#include <sys/wait.h>
#include <unistd.h>

#ifdef UDX_REFERENCE
const bool reference = true;
#else
const bool reference = false;
#endif

replay_t r;

void
remember (uint32_t seq, uint8_t type, const uint8_t *data, size_t len) {
  r.sent = realloc(r.sent, (r.sent_count + 1) * sizeof(sent_t));
  sent_t *x = &r.sent[r.sent_count++];
  x->seq = seq;
  x->type = type;
  x->data = malloc(len + 1);
  memcpy(x->data, data, len);
  x->len = len;
}

/* The first transmission of a seq of ours, by either peer. */
static const packet_t *
transmission (uint32_t seq) {
  peer_t *peers[2] = {r.p, r.p2};
  for (int k = 0; k < 2; k++) {
    for (size_t i = 0; peers[k] && i < peers[k]->n; i++) {
      const packet_t *x = &peers[k]->log[i];
      if ((x->type & (DATA | END)) && x->seq == seq) return x;
    }
  }
  return NULL;
}

size_t
check_emitted (uint32_t first_seq) {
  uint8_t *want = NULL, *have = NULL;
  size_t wanted = 0, got = 0;
  for (size_t i = 0; i < r.sent_count; i++) {
    want = realloc(want, wanted + r.sent[i].len + 1);
    memcpy(want + wanted, r.sent[i].data, r.sent[i].len);
    wanted += r.sent[i].len;
  }
  const packet_t *x;
  for (uint32_t seq = first_seq; (x = transmission(seq)) != NULL; seq++) {
    have = realloc(have, got + x->len + 1);
    memcpy(have + got, x->bytes + 20 + x->offset, x->len);
    got += x->len;
  }
  CHECK(got <= wanted);
  if (got) CHECK(memcmp(want, have, got) == 0);
  free(want);
  free(have);
  return got;
}

bool
emitted (uint32_t seq) {
  return transmission(seq) != NULL;
}

void
check_read (const uint8_t *want, size_t len) {
  CHECK(r.s.len >= len && (len == 0 || memcmp(r.s.data, want, len) == 0));
  CHECK_EQ(r.s.len, len);
}

static int failures, cases, skipped;

static void
run (const json_t *c, const char *role) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(1200); /* real seconds, against hanging for ever */
#ifdef UDX_REFERENCE
    backend = &uv_backend;
#else
    backend = &sim_backend;
#endif
    if (strcmp(json_string(c, "group"), "reaction") == 0) reaction(c);
    else if (*role) session_role(c, role);
    else session_relay(c);
    fflush(stdout);
    _exit(0);
  }
  int status;
  waitpid(pid, &status, 0);
  bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  cases++;
  failures += !ok;
  printf(
    "%s %s  %s%s%s\n", json_string(c, "id"), ok ? "ok" : "FAIL", json_string(c, "name"), *role ? ", as " : "", role);
}

int
main (int argc, char **argv) {
  if (argc < 2) return 64;
  static json_t *file; /* static: everything stays reachable for the leak check */
  file = json_load(argv[1]);
  if (!file) {
    fprintf(stderr, "%s: missing\n", argv[1]);
    return 1;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (const json_t *c = json_get(file, "cases")->first; c; c = c->next) {
    const char *group = json_string(c, "group"), *id = json_string(c, "id");
    bool wanted = argc == 2;
    for (int i = 2; i < argc; i++) wanted = wanted || strcmp(argv[i], id) == 0;
    if (!wanted) continue;
    if (strcmp(group, "reaction") == 0) {
      if (strcmp(json_string(c, "name"), "zero window") == 0) {
        printf("%s skipped: 1.20.7 probes a zero window with data, later versions with HEARTBEAT (UDX-62)\n", id);
        skipped++;
      } else {
        run(c, "");
      }
    } else if (strcmp(group, "session") == 0) {
      if (json_has(json_get(c, "streams"), "relayA")) {
        run(c, "");
      } else {
        if (json_has(c, "lostPackets")) {
          printf("%s skipped as the sender: when a seq leaves under loss is the congestion controller's choice\n", id);
          skipped++;
        } else {
          run(c, "a");
        }
        run(c, "b");
      }
    }
  }
  printf("%d replays, %d failed, %d skipped\n", cases, failures, skipped);
  return failures || cases == 0;
}
