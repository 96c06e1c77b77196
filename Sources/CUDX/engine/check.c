#include "check.h"

#include "stream.h"

/*
 * The walk over all packets runs for every small flight and for one call in UDX_CHECK_PERIOD of a large one. Instances
 * of several threads share nothing.
 */
static int
walk_is_due (uint32_t length) {
  static _Thread_local uint32_t calls;
  return length <= UDX_CHECK_WALK_MAX || ++calls % UDX_CHECK_PERIOD == 0;
}

static void
check_closed (const udx_stream_t *stream) {
  const udx_stream_state_t *state = udx__stream(stream);
  UDX_ASSERT(!(stream->status & UDX_STREAM_CONNECTED));
  UDX_ASSERT(state->flight.ring == NULL && state->flight.flying.count == 0 && state->flight.lost.count == 0);
  UDX_ASSERT(state->reorder.count == 0 && state->reorder.nodes == 0 && state->reorder.bytes == 0);
  UDX_ASSERT(state->timer_index == 0 && state->macroflow == NULL && state->paths == NULL);
  UDX_ASSERT(state->relay_to == NULL && udx__list_empty(&state->relays));
  UDX_ASSERT(udx__list_empty(&state->ready) && udx__list_empty(&state->owing) && udx__list_empty(&state->touched));
  UDX_ASSERT(stream->inflight == 0);
}

/* A list threaded through the ring: its members are in the given state, and there are as many as it says. */
static void
check_seq_list (const udx_flight_t *flight, const udx_seq_list_t *list, uint8_t state, int by_seq) {
  uint32_t seq = list->head, previous = seq;
  for (uint32_t i = 0; i < list->count; i++) {
    UDX_ASSERT(seq - flight->una < flight->nxt - flight->una);
    const udx_packet_t *packet = &flight->ring[seq & flight->mask];
    UDX_ASSERT(packet->state == state);
    if (i > 0) UDX_ASSERT(packet->prev == previous);
    if (i > 0 && by_seq) UDX_ASSERT(udx__seq_before(previous, seq));
    if (i + 1 == list->count) UDX_ASSERT(seq == list->tail);
    previous = seq;
    seq = packet->next;
  }
}

/* Every packet between una and nxt is in one of three states, and the sums over them are the counters. */
static void
check_flight (const udx_stream_t *stream) {
  const udx_flight_t *flight = &udx__stream(stream)->flight;
  const udx_send_queue_t *queue = &udx__stream(stream)->queue;
  uint32_t flying = 0, lost = 0, sacked = 0;
  size_t inflight = 0, unacked = 0, end = queue->end_unsent;
  for (uint32_t seq = flight->una; seq != flight->nxt; seq++) {
    const udx_packet_t *packet = &flight->ring[seq & flight->mask];
    UDX_ASSERT(packet->state != UDX_PACKET_FREE);
    if (packet->state == UDX_PACKET_FLYING) flying++;
    if (packet->state == UDX_PACKET_LOST) lost++;
    if (packet->state == UDX_PACKET_ACKED) sacked++;
    if (packet->state == UDX_PACKET_FLYING) inflight += (size_t) packet->length + UDX_HEADER_SIZE;
    if (packet->state == UDX_PACKET_ACKED) continue;
    unacked += packet->length;
    if (packet->type & UDX_HEADER_END) end = 1;
  }
  UDX_ASSERT(flying == flight->flying.count && lost == flight->lost.count && sacked == flight->sacked_count);
  UDX_ASSERT(inflight == stream->inflight);
  UDX_ASSERT(unacked == queue->unacked);
  check_seq_list(flight, &flight->flying, UDX_PACKET_FLYING, 0);
  check_seq_list(flight, &flight->lost, UDX_PACKET_LOST, 1);

  size_t total = 0;
  udx_stream_write_t *previous = NULL;
  for (udx_stream_write_t *req = queue->head; req != NULL; req = udx__write(req)->next) {
    const udx_write_state_t *write = udx__write(req);
    UDX_ASSERT(write->prev == previous && req->stream == stream);
    size_t acked = req->bytes_acked + write->end_acked;
    UDX_ASSERT(acked <= write->size);
    total += write->size - acked;
    previous = req;
  }
  UDX_ASSERT(queue->tail == previous);
  UDX_ASSERT(total == queue->unsent + queue->unacked + end);
}

static void
check_reorder (const udx_stream_t *stream) {
  const udx_reorder_t *reorder = &udx__stream(stream)->reorder;
  const udx_ack_state_t *ack = &udx__stream(stream)->ack;
  UDX_ASSERT(reorder->count <= reorder->capacity && reorder->capacity <= UDX_REORDER_RUNS_MAX);
  UDX_ASSERT(udx__seq_diff(ack->next, ack->delivered) >= 0);
  uint32_t nodes = 0;
  uint64_t bytes = 0, memory = 0;
  for (uint32_t i = 0; i < reorder->count; i++) {
    const udx_reorder_run_t *run = &reorder->runs[i];
    UDX_ASSERT(udx__seq_before(run->start, run->end));
    UDX_ASSERT(udx__seq_diff(run->start, ack->delivered) >= 0);
    if (i > 0) UDX_ASSERT(udx__seq_before(reorder->runs[i - 1].end, run->start));
    uint32_t count = 0;
    for (const udx_reorder_node_t *node = run->head; node != NULL; node = node->next) {
      count++;
      bytes += node->length;
      memory += node->large ? UDX_REORDER_BLOCK_LARGE : UDX_REORDER_BLOCK;
      if (node->next == NULL) UDX_ASSERT(run->tail == node);
    }
    UDX_ASSERT(count == run->end - run->start);
    nodes += count;
  }
  UDX_ASSERT(nodes == reorder->nodes && bytes == reorder->bytes && memory == reorder->memory);
  UDX_ASSERT(memory <= udx__instance(stream->udx)->reorder_memory);
}

static void
check_timer (const udx_stream_t *stream) {
  const udx_stream_state_t *state = udx__stream(stream);
  const udx_timer_heap_t *timers = &udx__instance(stream->udx)->timers;
  if (state->timer_index == 0) return;
  UDX_ASSERT(state->timer_index <= timers->count);
  UDX_ASSERT(timers->entries[state->timer_index - 1] == stream);
}

static void
check_path (const udx_stream_t *stream) {
  const udx_stream_state_t *state = udx__stream(stream);
  UDX_ASSERT(((stream->status & UDX_STREAM_CONNECTED) != 0) == (stream->socket != NULL));
  UDX_ASSERT(stream->cwnd >= 1 && stream->cwnd <= UDX_CWND_MAX);
  UDX_ASSERT(stream->mtu >= UDX_MTU_MIN && stream->mtu <= UDX_MTU_MAX);
  UDX_ASSERT(state->search.state <= UDX_MTU_STATE_COMPLETE && state->search.probes <= UDX_MTU_PROBES);
  UDX_ASSERT(state->recovery.state <= UDX_RECOVERY_LOSS && state->recovery.frto <= UDX_FRTO_SPURIOUS);
  UDX_ASSERT(stream->bbr.state <= UDX_BBR_STATE_PROBE_RTT);
  if (stream->socket == NULL) return;
  UDX_ASSERT(stream->socket->udx == stream->udx && !(stream->socket->status & UDX_SOCKET_CLOSED));
  UDX_ASSERT(state->remote.any.sa_family == udx__socket(stream->socket)->family);
  UDX_ASSERT(udx__socket(stream->socket)->stream_count > 0);
  const udx_macroflow_t *macroflow = state->macroflow;
  if (macroflow == NULL) return;
  UDX_ASSERT(macroflow->socket == stream->socket && macroflow->streams > 0);
  UDX_ASSERT(macroflow->inflight >= stream->inflight);
  UDX_ASSERT(!state->pacing.queued || !udx__list_empty(&state->ready));
  uint32_t count = 0;
  for (const udx_path_t *path = state->paths; path != NULL; path = path->next) {
    count++;
    UDX_ASSERT(udx__seq_diff(path->until, state->flight.nxt) <= 0);
  }
  UDX_ASSERT(count <= UDX_PATHS_MAX);
}

void
udx__stream_check (const udx_stream_t *stream) {
  if (stream->status & UDX_STREAM_CLOSED) {
    check_closed(stream);
    return;
  }
  const udx_flight_t *flight = &udx__stream(stream)->flight;
  uint32_t span = flight->nxt - flight->una;
  UDX_ASSERT(span <= UDX_FLIGHT_MAX);
  UDX_ASSERT(udx__ids_find(&udx__instance(stream->udx)->ids, stream->local_id) == stream);
  check_path(stream);
  check_timer(stream);
  /* a relaying stream counts what it forwards in `nxt` and has no records */
  if (udx__stream(stream)->relay_to == NULL) {
    UDX_ASSERT(flight->flying.count + flight->lost.count + flight->sacked_count == span);
    UDX_ASSERT(span == 0 || (flight->ring != NULL && span <= flight->mask + 1));
    if (walk_is_due(span)) check_flight(stream);
  }
  if (walk_is_due(udx__stream(stream)->reorder.nodes)) check_reorder(stream);
}

void
udx__stream_check_entry (const udx_stream_t *stream) {
  if (udx__instance(stream->udx)->depth == 0) udx__stream_check(stream);
}

void
udx__instance_check (const udx_t *udx) {
  const udx_instance_state_t *state = udx__instance(udx);
  const udx_timer_heap_t *timers = &state->timers;
  UDX_ASSERT(timers->count <= timers->capacity && timers->count <= state->ids.count);
  UDX_ASSERT(state->batch == NULL || state->depth > 0 || udx__list_empty(&state->touched) || state->deferred);
  if (walk_is_due(timers->count)) {
    for (uint32_t i = 0; i < timers->count; i++) {
      UDX_ASSERT(udx__stream(timers->entries[i])->timer_index == i + 1);
      if (i > 0)
        UDX_ASSERT(udx__stream(timers->entries[(i - 1) / 2])->timer_key <= udx__stream(timers->entries[i])->timer_key);
    }
  }
  uint32_t count = 0;
  for (udx_link_t *link = state->streams.next; link != &state->streams && count < UDX_CHECK_STREAMS;
       link = link->next) {
    udx__stream_check(UDX__STREAM_OF(link, link));
    count++;
  }
}
