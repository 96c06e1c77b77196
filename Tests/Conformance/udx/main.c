/* Runs conformance tests, each in a process of its own, and prints one line per item and backend:
     udx_conformance [-j N] [-l] [ID ...]
   The exit status is 1 when an item fails that is not a documented defect of the implementation under test, or when a
   named item does not exist. */
#include <sys/wait.h>
#include <unistd.h>

#include "harness/conform.h"

#define MAX_JOBS 64

#define SECONDS_DEFAULT 20
#define SECONDS_FACTOR 20 /* real time against hanging for ever, on a machine that is busy with other things */

typedef struct {
  pid_t pid;
  const test_t *test;
  const backend_t *on;
  FILE *out;
} job_t;

static job_t jobs[MAX_JOBS];
static int running, passed, failed, known, skipped;

#ifdef UDX_REFERENCE
static const bool reference = true;
#else
static const bool reference = false;
#endif

static void
child (const job_t *j) {
  if (j->out) {
    dup2(fileno(j->out), 1);
    dup2(fileno(j->out), 2);
  }
  alarm((unsigned) (SECONDS_FACTOR * (j->test->seconds ? j->test->seconds : SECONDS_DEFAULT)));
  backend = j->on;
  j->test->run();
  fflush(stdout);
  _exit(0);
}

static void
start (const test_t *t, const backend_t *on) {
  for (int i = 0; i < MAX_JOBS; i++) {
    job_t *j = &jobs[i];
    if (j->pid) continue;
    j->test = t;
    j->on = on;
    j->out = tmpfile();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) child(j);
    j->pid = pid;
    running++;
    return;
  }
}

static void
print_output (FILE *out) {
  char line[1024];
  rewind(out);
  while (fgets(line, sizeof(line), out)) fputs(line, stdout);
}

static void
judge (const job_t *j, int status) {
  bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  bool skip = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIPPED;
  bool expected = !ok && !skip && reference && j->test->reference_fails;
  printf("%s %s", j->test->id, ok ? "ok" : skip ? "skipped" : "FAIL");
  if (expected) printf(" (known: %s)", j->test->reference_fails);
  printf("  %s [%s]\n", j->test->what, j->on->name);
  if (!ok) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) printf("    time limit reached\n");
    else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGABRT) printf("    %s\n", strsignal(WTERMSIG(status)));
    if (j->out) print_output(j->out);
  }
  if (ok) passed++;
  else if (skip) skipped++;
  else if (expected) known++;
  else failed++;
}

static void
finish (void) {
  int status;
  pid_t pid = wait(&status);
  for (int i = 0; i < MAX_JOBS; i++) {
    job_t *j = &jobs[i];
    if (pid <= 0 || j->pid != pid) continue;
    judge(j, status);
    if (j->out) fclose(j->out);
    j->pid = 0;
    running--;
  }
}

static void
run_test (const test_t *t, int parallel) {
  const backend_t *backends[2] = {NULL, NULL};
#ifdef UDX_REFERENCE
  backends[1] = &uv_backend;
#else
  if (t->on & SIMULATOR) backends[0] = &sim_backend;
  if (t->on & SOCKETS) backends[1] = &uv_backend;
#endif
  for (int i = 0; i < 2; i++) {
    if (!backends[i]) continue;
    while (running >= parallel) finish();
    start(t, backends[i]);
  }
}

int
main (int argc, char **argv) {
  const test_t *tables[] = {wire_tests, receive_tests, lifecycle_tests, closing_tests, recovery_tests, flow_tests,
    path_tests, socket_tests, congestion_tests, defect_tests, failure_tests};
  int parallel = 1, c;
  bool list = false;
  while ((c = getopt(argc, argv, "j:l")) != -1) {
    if (c == 'j') parallel = atoi(optarg);
    else if (c == 'l') list = true;
    else return 64;
  }
  if (parallel < 1 || parallel > MAX_JOBS) parallel = 1;
  setvbuf(stdout, NULL, _IOLBF, 0);

  int matched = 0;
  for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
    for (const test_t *t = tables[i]; t->id; t++) {
      bool wanted = optind == argc;
      for (int k = optind; k < argc; k++) wanted = wanted || strcmp(argv[k], t->id) == 0;
      if (!wanted) continue;
      matched++;
      if (list) printf("%s\t%s\n", t->id, t->what);
      else run_test(t, parallel);
    }
  }
  while (running) finish();
  if (list) return 0;
  printf("%d tests: %d ok, %d known defects, %d skipped, %d failed\n", matched, passed, known, skipped, failed);
  return failed || matched == 0 ? 1 : 0;
}
