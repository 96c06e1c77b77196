/*
 * Token bucket on the microsecond clock. Credit grows with time up to one burst; a packet may leave while
 * credit is positive and takes its size, so that debt is kept and the long-run rate is exact at any rate.
 * On a busy machine the wake-up of a waiting stream comes late: that time is made up for, otherwise the rate
 * would stay below the estimate, the next estimate would follow it, and so on down.
 */
#include "trace.h"

void
udx__pacing_init (udx_stream_t *stream) {
  stream->pacing.rate = 1;
  stream->pacing.credit = 0;
  stream->pacing.updated = 0;
  stream->pacing.at = UDX_NEVER;
  stream->pacing.waiting = 0;
  stream->pacing.thin_until = stream->pacing.thin_judged = stream->pacing.thick_until = 0;
  stream->pacing.sent = stream->pacing.lost = 0;
}

/*
 * A queue of a packet or two drops all but the first of a burst, again and again, and the stream starves at a packet
 * per round trip. It shows as loss although packets travel as fast as ever: a queue that is worth the name shows in the
 * round-trip time before it overflows. Then packets go one by one, for as long as that goes on. If as many get lost
 * that way it was none of the bursts' fault, and bursts are better at making use of what heavy random loss leaves.
 */
void
udx__pacing_lost (udx_stream_t *stream, uint32_t count, uint64_t now) {
  udx_pacing_t *pacing = &stream->pacing;
  uint32_t least = udx__rtt_min(stream);
  if (count == 0 || least == UINT32_MAX) return;
  int queueing = stream->rtt.latest > least + least / 4 + UDX_MS;
  pacing->lost += count;
  if (now >= pacing->thin_until) {
    if (queueing || now < pacing->thick_until) return;
    pacing->thin_until = now + UDX_PACING_THIN_TIME;
    pacing->thin_judged = now + UDX_PACING_THIN_ROUNDS * (uint64_t) stream->rtt.srtt;
    return;
  }
  if (!queueing) pacing->thin_until = now + UDX_PACING_THIN_TIME;
  if (now < pacing->thin_judged) pacing->lost = pacing->sent = 0;
  if (pacing->lost < UDX_PACING_THIN_LOSSES) return;
  if (pacing->lost > pacing->sent / UDX_PACING_THIN_SHARE) {
    pacing->thin_until = 0;
    pacing->thick_until = now + UDX_PACING_THIN_TIME;
  }
  pacing->lost = pacing->sent = 0;
}

static int
pacing_thin (const udx_stream_t *stream) {
  return stream->pacing.updated < stream->pacing.thin_until && stream->pacing.rate <= UDX_PACING_THIN_RATE;
}

static int64_t
pacing_burst (const udx_stream_t *stream) {
  if (UDX_UNLIKELY(pacing_thin(stream))) return 1; /* a packet may leave if there is any credit */
  uint64_t burst = stream->pacing.rate / (UDX_SECOND / UDX_PACING_BURST);
  uint64_t least = (uint64_t) UDX_PACING_BURST_MIN * stream->mtu;
  return (int64_t) udx__max_u64(burst, least);
}

static void
pacing_refill (udx_stream_t *stream, uint64_t now) {
  udx_pacing_t *pacing = &stream->pacing;
  if (now <= pacing->updated) return;
  uint64_t elapsed = now - pacing->updated;
  pacing->updated = now;
  int64_t burst = pacing_burst(stream);
  if (pacing->waiting) {
    /* but no more than a quarter of a flight, and little if many streams do it at once: no burst may fill a queue */
    uint64_t late = udx__min_u64(UDX_PACING_LATE, stream->rtt.srtt / 4) / (1 + stream->socket->stream_count / 8);
    burst += (int64_t) (pacing->rate / 1000 * late / 1000);
  }
  double credit = (double) pacing->credit + (double) pacing->rate * (double) elapsed / (double) UDX_SECOND;
  pacing->credit = credit > (double) burst ? burst : (int64_t) credit;
}

void
udx__pacing_set_rate (udx_stream_t *stream, double bytes_per_second) {
  if (bytes_per_second < 1) bytes_per_second = 1;
  if (bytes_per_second > 1e12) bytes_per_second = 1e12;
  stream->pacing.rate = (uint64_t) bytes_per_second;
}

int
udx__pacing_ready (udx_stream_t *stream, uint64_t now) {
  pacing_refill(stream, now);
  stream->pacing.waiting = 0;
  return stream->pacing.credit > 0;
}

void
udx__pacing_spend (udx_stream_t *stream, uint32_t bytes) {
  stream->pacing.credit -= bytes;
  stream->pacing.sent++;
}

void
udx__pacing_wait (udx_stream_t *stream, uint64_t now) {
  udx_pacing_t *pacing = &stream->pacing;
  /* wake for half a burst at once: fewer, larger batches */
  int64_t want = (pacing_burst(stream) + 1) / 2 - pacing->credit;
  double wait = (double) want * (double) UDX_SECOND / (double) pacing->rate;
  pacing->waiting = 1;
  if (wait < 1) wait = 1;
  if (wait > 10.0 * UDX_SECOND) wait = 10.0 * UDX_SECOND;
  /* on a grid, so that streams wake together and share batches; the credit makes up for it */
  uint64_t at = now + (uint64_t) wait + UDX_PACING_GRID - 1;
  pacing->at = at - at % UDX_PACING_GRID;
  udx__timer_at_most(stream, pacing->at);
  UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_PACING, UDX_TRACE_SET, pacing->at));
}
