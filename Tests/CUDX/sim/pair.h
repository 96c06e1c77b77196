/*
 * Two connected streams on two nodes of a simulation, with everything that arrives recorded and checked.
 *
 *   pair_t *p = pair_new(seed, &link);
 *   pair_write(p, 0, 1000000);          // side 0 writes a pattern that is a function of the offset
 *   pair_end(p, 0); pair_end(p, 1);
 *   sim_run(p->sim, ...);
 *   CHECK_EQ(p->side[1].received, 1000000);  // bytes arrived, in order, with the right content
 *   pair_free(p);                       // destroys what is left and checks that nothing leaks
 */
#ifndef UDX_SIM_PAIR_H
#define UDX_SIM_PAIR_H

#include "sim.h"

typedef struct pair_side_s {
  sim_node_t *node;
  udx_socket_t socket;
  udx_stream_t stream;
  struct pair_s *pair;
  uint64_t written;  /* bytes given to udx_stream_write */
  uint64_t received; /* bytes read */
  uint64_t mismatches;
  uint64_t acked; /* writes completed with status 0 */
  uint64_t cancelled;
  uint64_t messages;
  int eof;
  int closed;
  int close_status;
  int finalized;
  int drained;
  uint64_t close_time;
  uint64_t to_write; /* what pair_write still has to write (it follows the back-pressure) */
  int end_when_written;
  void (*on_data)(struct pair_side_s *side);
} pair_side_t;

typedef struct pair_s {
  sim_t *sim;
  pair_side_t side[2];
} pair_t;

/* Streams 1 (side 0) and 2 (side 1), connected over IPv4. link NULL = the default. */
pair_t *
pair_new (uint64_t seed, const sim_link_t *link);

/* The same without sockets bound and streams connected. */
pair_t *
pair_new_unconnected (uint64_t seed, const sim_link_t *link);

void
pair_bind (pair_t *pair);

void
pair_connect (pair_t *pair, int side);

/* Writes in pieces of 64 KiB, as back-pressure allows. */
void
pair_write (pair_t *pair, int side, uint64_t bytes);

/* Ends after everything that pair_write was told. */
void
pair_end (pair_t *pair, int side);

/* What pair_write writes at this offset: 64 KiB of it. */
const uint8_t *
pair_pattern (uint64_t offset);

/* After udx_stream_read_stop. */
void
pair_read_start (pair_t *pair, int side);

/* Runs until both sides are closed or the time is over; 1 if closed. */
int
pair_run_closed (pair_t *pair, uint64_t limit);

/* Runs until side has received that much; 1 if so. */
int
pair_run_received (pair_t *pair, int side, uint64_t bytes, uint64_t limit);

void
pair_free (pair_t *pair);

#endif
