/* Runs conformance tests, each in a process of its own, and prints one line per item:
     udx_conformance [-j N] [-l] [ID ...]
   The exit status is 1 when an item fails that is not a documented defect of the implementation under test. */
#define _GNU_SOURCE
#include "conform.h"

#include <sys/wait.h>
#include <unistd.h>

#define MAX_JOBS 64

typedef struct {
  pid_t pid;
  const test_t *test;
  FILE *out;
} job_t;

static job_t jobs[MAX_JOBS];
static int running, passed, failed, known;

#ifdef UDX_REFERENCE
static const bool reference = true;
#else
static const bool reference = false;
#endif

static void
start (const test_t *t) {
  for (int i = 0; i < MAX_JOBS; i++) {
    job_t *j = &jobs[i];
    if (j->pid) continue;
    j->test = t;
    j->out = tmpfile();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
      if (j->out) dup2(fileno(j->out), 1);
      alarm((unsigned) (t->seconds ? 4 * t->seconds : 80)); /* real seconds, against hanging for ever */
      t->run();
      fflush(stdout);
      _exit(0);
    }
    j->pid = pid;
    running++;
    return;
  }
}

static void
finish (void) {
  int status;
  pid_t pid = wait(&status);
  for (int i = 0; i < MAX_JOBS; i++) {
    job_t *j = &jobs[i];
    if (pid <= 0 || j->pid != pid) continue;
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool expected = !ok && reference && j->test->reference_fails;
    printf("%s %s", j->test->id, ok ? "ok" : "FAIL");
    if (expected) printf(" (known: %s)", j->test->reference_fails);
    printf("  %s\n", j->test->what);
    if (!ok) {
      if (WIFSIGNALED(status)) {
        printf("    %s\n", WTERMSIG(status) == SIGALRM ? "time limit reached" : strsignal(WTERMSIG(status)));
      }
      if (j->out) {
        char line[1024];
        rewind(j->out);
        while (fgets(line, sizeof(line), j->out)) fputs(line, stdout);
      }
    }
    if (ok) passed++;
    else if (expected) known++;
    else failed++;
    if (j->out) fclose(j->out);
    j->pid = 0;
    running--;
  }
}

int
main (int argc, char **argv) {
  const test_t *tables[] = {wire_tests, receive_tests, lifecycle_tests, recovery_tests, flow_tests, path_tests,
    socket_tests, congestion_tests, defect_tests, failure_tests};
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
      if (list) {
        printf("%s\t%s\n", t->id, t->what);
        continue;
      }
      while (running >= parallel) finish();
      start(t);
    }
  }
  while (running) finish();
  if (list) return 0;
  printf("%d tests: %d ok, %d known defects, %d failed\n", matched, passed, known, failed);
  return failed || matched == 0 ? 1 : 0;
}
