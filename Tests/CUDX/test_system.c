/*
 * What the system does to a socket: errors of every kind, memory that runs out, a port that is taken away, several
 * addresses of one host.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#ifdef __linux__

#include "engine/asked.h"
#include "engine/instance.h"
#include "system_support.h"

/* ---- addresses ---- */

static void
check_from (end_t *end, const char *host) {
  struct sockaddr_in expected = address(host, port(a));
  CHECK_EQ(end->from.ss_family, AF_INET);
  CHECK(memcmp(&((struct sockaddr_in *) &end->from)->sin_addr, &expected.sin_addr, sizeof(struct in_addr)) == 0);
}

static bool
has_answer (void) {
  return b->datagrams > 0;
}

TEST(answers_leave_from_the_address_that_was_asked) {
  static const char *all[] = {"0.0.0.0", "::"};
  static const char *asked[] = {"127.0.0.1", "127.0.0.5", "127.1.2.3"};
  for (int i = 0; i < 6; i++) {
    open_pair(all[i / 3], asked[i % 3]);
    struct sockaddr_in to = address(asked[i % 3], port(a));
    a->answers = true;
    datagram(b, (struct sockaddr *) &to);
    run(2000, has_answer);
    CHECK_EQ(b->datagrams, 1);
    check_from(b, asked[i % 3]);
    /* an answer that takes a while, as one that is passed on does */
    a->answers = false;
    b->datagrams = 0;
    datagram(b, (struct sockaddr *) &to);
    run(300, NULL);
    CHECK_EQ(b->datagrams, 0);
    to = address("127.0.0.9", port(b));
    datagram(a, (struct sockaddr *) &to);
    run(2000, has_answer);
    CHECK_EQ(b->datagrams, 1);
    check_from(b, asked[i % 3]);
    close_pair();
  }
}

/* Later the way out may be another one, which the system knows. */
TEST(what_was_asked_is_remembered_for_seconds) {
  open_pair("0.0.0.0", "127.0.0.5");
  struct sockaddr_in remote = address("10.0.0.1", 1000), other = address("10.0.0.1", 1001);
  udx__asked_note(&a->socket, (struct sockaddr *) &remote, 7);
  CHECK_EQ(udx__asked_local(&a->socket, (struct sockaddr *) &remote), 7);
  CHECK_EQ(udx__asked_local(&a->socket, (struct sockaddr *) &other), 0);
  udx__instance(&a->udx)->now += (UDX_ASKED_SECONDS - 1) * UDX_SECOND;
  CHECK_EQ(udx__asked_local(&a->socket, (struct sockaddr *) &remote), 7);
  udx__instance(&a->udx)->now += 2 * UDX_SECOND;
  CHECK_EQ(udx__asked_local(&a->socket, (struct sockaddr *) &remote), 0);
  udx__instance(&a->udx)->now -= (UDX_ASKED_SECONDS + 1) * UDX_SECOND;
  close_pair();
}

/* Every packet of a stream: acknowledgements, data, the reset. */
TEST(streams_leave_from_the_address_that_the_peer_knows) {
  static const char *all[] = {"0.0.0.0", "::"};
  for (int i = 0; i < 2; i++) {
    open_pair(all[i], "127.0.0.5");
    stream_write(b, 1);
    run(200, NULL);
    fault.error = LOST; /* whatever leaves from another address */
    fault.which = WITHOUT_SOURCE;
    fault.times = -1;
    CHECK(a->stream.status & UDX_STREAM_CONNECTED);
    a_awaits = a->received;
    b_awaits = sizeof(payload);
    stream_write(a, sizeof(payload));
    run(3000, arrived);
    CHECK(arrived());
    CHECK_EQ(a->stream.rto_count, 0);
    CHECK_EQ(udx_stream_destroy(&a->stream), 1);
    run(200, NULL);
    CHECK_EQ(b->closed, 1);
    CHECK_EQ(b->status, UV_ECONNRESET);
    close_pair();
  }
}

static int strangers;

static int
count_stranger (udx_stream_t *stream, udx_socket_t *socket, const struct sockaddr *from) {
  (void) stream;
  (void) socket;
  (void) from;
  strangers++;
  return 0;
}

/* Two streams to one remote that knows this host by two addresses: packets of one turn do not share a message. */
TEST(streams_of_one_remote_keep_their_addresses) {
  open_pair("0.0.0.0", "127.0.0.5");
  udx_stream_t second[2];
  memset(second, 0, sizeof(second));
  struct sockaddr_in to = address("127.0.0.6", port(a)), back = address("127.0.0.9", port(b));
  for (int k = 0; k < 2; k++) {
    end_t *end = k ? b : a;
    second[k].data = end;
    CHECK_EQ(udx_stream_init(&end->udx, &second[k], 7, on_close, NULL), 0);
    CHECK_EQ(udx_stream_connect(&second[k], &end->socket, 7, (struct sockaddr *) (k ? &to : &back)), 0);
    CHECK_EQ(udx_stream_read_start(&second[k], on_read), 0);
  }
  for (int k = 0; k < 2; k++) {
    udx_stream_t *stream = k ? &second[1] : &b->stream;
    udx_stream_firewall(stream, count_stranger);
    CHECK_EQ(udx_stream_firewall_sources(stream, 1), 0);
    stream_write_to(stream, 10);
  }
  run(200, NULL);
  strangers = 0;
  for (int i = 0; i < 20; i++) {
    stream_write_to(&a->stream, 100);
    stream_write_to(&second[0], 100);
    run(20, NULL);
  }
  CHECK_EQ(b->received, 4000);
  CHECK_EQ(strangers, 0);
  close_pair();
}

/* Of what leaves from one of the two addresses nothing arrives, or the system refuses it: the other one carries on. */
TEST(streams_try_the_other_source) {
  static const int errors[] = {LOST, LOST, EINVAL, EADDRNOTAVAIL, ENETUNREACH};
  for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
    open_pair("0.0.0.0", "127.0.0.5");
    CHECK(transfer(2000));
    fault.error = errors[i];
    fault.which = i == 1 ? WITHOUT_SOURCE : WITH_SOURCE;
    fault.times = -1;
    uint32_t timeouts = a->stream.rto_count;
    for (int k = 0; k < 3; k++) CHECK(transfer(6000));
    CHECK((a->stream.rto_count > timeouts) == (i == 0)); /* what the system refuses is sent again at once */
    CHECK_EQ(a->closed + b->closed, 0);
    close_pair();
  }
}

/* ---- errors ---- */

TEST(no_error_stops_a_socket) {
  static const int errors[] = {ECONNREFUSED, ECONNRESET, ECONNABORTED, EHOSTUNREACH, EHOSTDOWN, ENETUNREACH, ENETDOWN,
    EMSGSIZE, EADDRNOTAVAIL, EINVAL, EPERM, EACCES, EAGAIN, ENOBUFS, ENOMEM, EIO, EINTR, ENODEV};
  for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
    for (int times = 1; times <= 5; times += 2) {
      open_pair("0.0.0.0", "127.0.0.5");
      CHECK(transfer(2000));
      fault.error = errors[i];
      fault.times = times;
      CHECK(transfer(8000));
      CHECK_EQ(fault.times, 0);
      CHECK_EQ(a->closed + b->closed, 0);
      close_pair();
    }
  }
}

/* Errors that belong to an earlier datagram lose nothing of the present one. */
TEST(old_errors_lose_no_datagram) {
  static const int errors[] = {ECONNREFUSED, ECONNABORTED, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EINTR, ENOBUFS};
  for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
    open_pair("127.0.0.1", "127.0.0.1");
    struct sockaddr_in to = address("127.0.0.9", port(b));
    fault.error = errors[i];
    fault.times = 1;
    datagram(a, (struct sockaddr *) &to);
    run(1000, has_answer);
    CHECK_EQ(fault.times, 0);
    CHECK_EQ(b->datagrams, 1);
    close_pair();
  }
}

/* The system has no memory for 300 ms and says that the socket is writable all the time. */
TEST(no_memory_does_not_spin) {
  static const int errors[] = {ENOBUFS, ENOMEM};
  for (int i = 0; i < 2; i++) {
    open_pair("127.0.0.1", "127.0.0.1");
    CHECK(transfer(2000));
    fault.error = errors[i];
    fault.times = -1;
    fault.calls = 0;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    stream_write(a, 5000);
    run(300, NULL);
    getrusage(RUSAGE_SELF, &after);
    CHECK(fault.calls >= 5);
    CHECK(fault.calls <= 30);
    long spent = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000;
    CHECK(spent + after.ru_utime.tv_usec - before.ru_utime.tv_usec < 100000);
    fault.error = 0;
    a_awaits = a->received;
    b_awaits = b->received + 5000;
    run(200, arrived);
    CHECK(arrived());
    close_pair();
  }
}

TEST(descriptors_run_out) {
  open_pair("0.0.0.0", "127.0.0.1");
  CHECK(transfer(2000));
  struct rlimit limit, none;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = limit;
  none.rlim_cur = 3;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  udx_socket_t socket;
  memset(&socket, 0, sizeof(socket));
  CHECK_EQ(udx_socket_init(&a->udx, &socket, nothing), 0);
  struct sockaddr_in any = address("0.0.0.0", 0);
  CHECK_EQ(udx_socket_bind(&socket, (struct sockaddr *) &any, 0), UV_EMFILE);
  CHECK(transfer(2000));
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  CHECK_EQ(udx_socket_bind(&socket, (struct sockaddr *) &any, 0), 0);
  CHECK_EQ(udx_socket_close(&socket), 0);
  close_pair();
}

/* ---- a port is taken away ---- */

/* As SOCK_DESTROY does: the port of a socket that did not ask for a certain one is given back. */
static void
take_port (int fd) {
  struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
  CHECK_EQ(connect(fd, &unspecified, sizeof(unspecified)), 0);
}

TEST(a_port_that_was_taken_is_bound_anew) {
  for (int taken = 0; taken < 2; taken++) {
    open_pair("0.0.0.0", "127.0.0.5");
    CHECK(transfer(2000));
    int before = port(a), other = -1;
    take_port(descriptor_of(before));
    CHECK_EQ(port(a), 0);
    if (taken) {
      struct sockaddr_in any = address("0.0.0.0", before);
      other = socket(AF_INET, SOCK_DGRAM, 0);
      CHECK_EQ(bind(other, (struct sockaddr *) &any, sizeof(any)), 0);
    }
    fault.error = ECONNABORTED; /* what the next call reports */
    fault.which = WITH_SOURCE;
    fault.times = 1;
    struct sockaddr_in to = address("127.0.0.9", port(b));
    stream_write(a, 1000);
    run(200, NULL);
    CHECK_EQ(a->rebound, 1);
    CHECK((port(a) == before) == !taken);
    CHECK(port(a) != 0);
    CHECK_EQ(b->received, sizeof(payload) + 1000);
    if (!taken) CHECK(transfer(2000));
    datagram(a, (struct sockaddr *) &to);
    run(200, has_answer);
    CHECK_EQ(port_of((struct sockaddr *) &b->from), port(a));
    if (other >= 0) close(other);
    close_pair();
  }
}

/* ---- the end ---- */

enum { STREAMS = 5000 };

static bool
all_reset (void) {
  return b->closed == STREAMS;
}

/* The system has no memory while everything is destroyed and the socket closed: every peer knows within a second. */
TEST(resets_leave_a_full_socket_after_its_close) {
  open_pair("127.0.0.1", "127.0.0.1");
  udx_stream_t *streams[2];
  for (int k = 0; k < 2; k++) {
    streams[k] = calloc(STREAMS, sizeof(udx_stream_t));
    end_t *end = k ? b : a;
    struct sockaddr_in to = address(k ? "127.0.0.1" : "127.0.0.9", port(k ? a : b));
    for (uint32_t i = 0; i < STREAMS; i++) {
      streams[k][i].data = end;
      CHECK_EQ(udx_stream_init(&end->udx, &streams[k][i], i + 10, on_close, NULL), 0);
      CHECK_EQ(udx_stream_connect(&streams[k][i], &end->socket, i + 10, (struct sockaddr *) &to), 0);
    }
  }
  run(50, NULL);
  fault.error = ENOBUFS;
  fault.times = -1;
  fault.calls = 0;
  udx_teardown(&a->udx);
  run(300, NULL);
  CHECK_EQ(b->closed, 0);
  CHECK(fault.calls <= 30);
  fault.error = 0;
  run(700, all_reset);
  CHECK_EQ(b->closed, STREAMS);
  CHECK_EQ(b->status, UV_ECONNRESET);
  run(50, NULL);
  CHECK(udx_is_idle(&a->udx));
  close_pair();
  for (int k = 0; k < 2; k++) free(streams[k]);
}

/* A socket that never has room again closes all the same. */
TEST(a_full_socket_closes_after_a_second) {
  static const int errors[] = {ENOBUFS, EAGAIN};
  for (int i = 0; i < 2; i++) {
    open_pair("127.0.0.1", "127.0.0.1");
    CHECK(transfer(2000));
    fault.error = errors[i];
    fault.times = -1;
    uint64_t start = uv_hrtime();
    udx_teardown(&a->udx);
    while (!udx_is_idle(&a->udx)) uv_run(&loop, UV_RUN_ONCE);
    uint64_t took = (uv_hrtime() - start) / 1000000;
    CHECK(took >= 990);
    CHECK(took <= 1300);
    close_pair();
  }
}

TEST_MAIN(TEST_ENTRY(answers_leave_from_the_address_that_was_asked),
  TEST_ENTRY(what_was_asked_is_remembered_for_seconds), TEST_ENTRY(streams_leave_from_the_address_that_the_peer_knows),
  TEST_ENTRY(streams_of_one_remote_keep_their_addresses), TEST_ENTRY(streams_try_the_other_source),
  TEST_ENTRY(no_error_stops_a_socket), TEST_ENTRY(old_errors_lose_no_datagram), TEST_ENTRY(no_memory_does_not_spin),
  TEST_ENTRY(descriptors_run_out), TEST_ENTRY(a_port_that_was_taken_is_bound_anew),
  TEST_ENTRY(resets_leave_a_full_socket_after_its_close), TEST_ENTRY(a_full_socket_closes_after_a_second))

#else

#include "test.h"

TEST(system) {
  printf("  skipped: the faults of this test are Linux's\n");
}

TEST_MAIN(TEST_ENTRY(system))

#endif
