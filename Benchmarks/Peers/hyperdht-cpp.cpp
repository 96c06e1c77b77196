/* The workloads of `hyperswarm-benchmark-workloads pair` on the C++ port, both ends in this process and on one loop.
 * Written against the public C API in `hyperdht/hyperdht.h` of its source, which `Benchmarks/run` is given. */
#include <hyperdht/hyperdht.h>
#include <sys/resource.h>
#include <uv.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

uv_loop_t loop;
hyperdht_t *a, *b;
hyperdht_keypair_t keys;
std::string work;
size_t count, bytes, done, received, part;
hyperdht_stream_t *own, *theirs;
bool is_open[2];
int nodes_ready, tries;
bool is_measured; /* the dials before are for the server to be found */
std::vector<uint8_t> message;
std::vector<double> times;
double started, cpu_started, sent_at;
uv_timer_t later;

double
now (void) {
  return (double) uv_hrtime() / 1e9;
}

double
cpu (void) {
  rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

void
figure (const std::string &name, const char *metric, double value, const char *unit, bool higher) {
  printf("{\"work\": \"%s\", \"metric\": \"%s\", \"value\": %.6f, \"unit\": \"%s\", \"higher\": %s}\n", name.c_str(),
    metric, value, unit, higher ? "true" : "false");
}

[[noreturn]] void
finish (const char *name) {
  if (!times.empty()) {
    printf("{\"work\": \"%s\", \"times\": [", name);
    for (size_t i = 0; i < times.size(); i++) printf("%s%.1f", i ? ", " : "", times[i]);
    printf("]}\n");
  }
  fflush(stdout);
  _exit(0); /* what is open is the kernel's to close */
}

void
begin (void) {
  started = now();
  cpu_started = cpu();
}

/* ---- bulk ---- */

void
on_drain (hyperdht_stream_t *, void *) {
  if (done < part) {
    done++;
    hyperdht_stream_write_with_drain(own, message.data(), message.size(), on_drain, nullptr);
  }
}

void
start_part (size_t messages) {
  part = messages;
  done = received = 0;
  begin();
  for (int i = 0; i < 32 && done < part; i++) on_drain(own, nullptr);
}

void
take_bulk (size_t length) {
  received += length;
  if (received < part * bytes) return;
  if (part != count) {
    start_part(count);
    return;
  }
  std::string name = "encrypted bulk, messages of " + std::to_string(bytes) + " bytes";
  figure(name, "throughput", (double) received / (now() - started) / 1e6, "MB/s", true);
  figure(name, "CPU", (cpu() - cpu_started) / (double) received * 1e9, "s/GB", false);
  finish("");
}

/* ---- echo ---- */

void
send_echo (void) {
  sent_at = now();
  hyperdht_stream_write(own, message.data(), message.size());
}

void
take_echo (void) {
  if (done++ >= count / 10) times.push_back((now() - sent_at) * 1e6);
  if (times.size() >= count) finish("encrypted echo, 64 bytes");
  send_echo();
}

/* ---- connections ---- */

void
dial (void);

void
both_open (void) {
  if (!is_open[0] || !is_open[1]) return;
  if (work == "bulk") start_part(count / 10 ? count / 10 : 1);
  if (work == "echo") send_echo();
}

void
on_own_open (void *) {
  is_open[0] = true;
  if (work != "connect") {
    both_open();
    return;
  }
  if (is_measured) {
    times.push_back((now() - sent_at) * 1e6);
  } else {
    is_measured = true;
    begin();
  }
  hyperdht_stream_write(own, message.data(), 1);
  hyperdht_stream_close(own);
  if (times.size() < count) {
    uv_timer_start(
      &later, [] (uv_timer_t *) { dial(); }, 0, 0);
    return;
  }
  figure("connect by key", "rate", (double) count / (now() - started), "/s", true);
  figure("connect by key", "CPU", (cpu() - cpu_started) / (double) count * 1e3, "ms each", false);
  finish("connect by key");
}

void
on_own_data (const uint8_t *, size_t, void *) {
  if (work == "echo") take_echo();
}

void
on_close (void *) {
}

void
on_connect (int error, const hyperdht_connection_t *connection, void *) {
  if (error && !is_measured && tries++ < 100) {
    uv_timer_start(
      &later, [] (uv_timer_t *) { dial(); }, 100, 0);
    return;
  }
  if (error) {
    fprintf(stderr, "connect: %s\n", hyperdht_connect_strerror(error));
    _exit(2);
  }
  own = hyperdht_stream_open(b, connection, on_own_open, on_own_data, on_close, nullptr);
}

void
dial (void) {
  sent_at = now();
  hyperdht_connect(b, keys.public_key, on_connect, nullptr);
}

struct Accepted {
  hyperdht_stream_t *stream;
};

void
on_their_open (void *) {
  is_open[1] = true;
  if (work != "connect") both_open();
}

void
on_their_data (const uint8_t *data, size_t length, void *p) {
  if (work == "bulk") take_bulk(length);
  if (work == "echo") hyperdht_stream_write(theirs, data, length);
  if (work == "connect") hyperdht_stream_close(((Accepted *) p)->stream);
}

void
on_their_close (void *p) {
  delete (Accepted *) p;
}

void
on_connection (const hyperdht_connection_t *connection, void *) {
  Accepted *accepted = new Accepted{};
  accepted->stream = hyperdht_stream_open(a, connection, on_their_open, on_their_data, on_their_close, accepted);
  theirs = accepted->stream;
}

/* A node whose table is empty asks the public nodes it was built with, and no others. */
void
on_bootstrapped (void *) {
  if (++nodes_ready < 2) return;
  hyperdht_server_t *server = hyperdht_server_create(a);
  hyperdht_server_listen(server, &keys, on_connection, nullptr);
  uv_timer_start(
    &later, [] (uv_timer_t *) { dial(); }, 500, 0);
}

} // namespace

int
main (int argc, char **argv) {
  if (argc < 4) return 64;
  work = argv[1];
  count = strtoul(argv[3], nullptr, 10);
  bytes = argc > 4 ? strtoul(argv[4], nullptr, 10) : 64;
  message.assign(bytes, 7);
  uv_loop_init(&loop);
  uv_timer_init(&loop, &later);
  hyperdht_opts_t options;
  hyperdht_opts_default(&options);
  const char *nodes[] = {argv[2]};
  options.nodes = nodes;
  options.nodes_len = 1;
  a = hyperdht_create(&loop, &options);
  b = hyperdht_create(&loop, &options);
  if (!a || !b || hyperdht_bind(a, 0) || hyperdht_bind(b, 0)) return 2;
  hyperdht_keypair_generate(&keys);
  hyperdht_on_bootstrapped(a, on_bootstrapped, nullptr);
  hyperdht_on_bootstrapped(b, on_bootstrapped, nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  return 3;
}
