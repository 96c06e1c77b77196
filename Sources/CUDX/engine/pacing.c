/*
 * Token bucket on the microsecond clock. Credit grows with time up to one burst; a packet may leave while credit is
 * positive and takes its size, so that debt is kept and the long-run rate is exact at any rate. On a busy machine the
 * wake-up of a waiting stream comes late: that time is made up for, otherwise the rate stays below the estimate and the
 * next estimate follows it down.
 */
#include "pacing.h"

#include "rtt.h"
#include "socket.h"
#include "stream.h"
#include "timer.h"
#include "trace/trace.h"

void
udx__pacing_init (udx_stream_t *stream) {
  udx__stream(stream)->pacing.rate = 1;
  udx__stream(stream)->pacing.credit = 0;
  udx__stream(stream)->pacing.updated = 0;
  udx__stream(stream)->pacing.at = UDX_NEVER;
  udx__stream(stream)->pacing.waiting = 0;
  udx__stream(stream)->pacing.single_until = udx__stream(stream)->pacing.single_judged_from =
    udx__stream(stream)->pacing.burst_until = 0;
  udx__stream(stream)->pacing.sent = udx__stream(stream)->pacing.lost = 0;
}

/*
 * A queue of a packet or two drops all but the first of a burst, again and again, and the stream starves at a packet
 * per round trip. It shows as loss although packets travel as fast as ever: a longer queue shows in the round-trip time
 * before it overflows. Then packets go singly, for as long as that lasts. If as many get lost that way the bursts were
 * not the cause, and bursts make better use of what heavy random loss leaves.
 */
void
udx__pacing_lost (udx_stream_t *stream, uint32_t count, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->pacing.lost < UDX_PACING_SINGLE_LOSSES);
  udx_pacing_t *pacing = &udx__stream(stream)->pacing;
  uint32_t least = udx__rtt_min(stream);
  if (count == 0 || least == UINT32_MAX) return;
  int queueing = udx__stream(stream)->rtt.latest > least + least / 4 + UDX_MS;
  if (now >= pacing->single_until) {
    if (queueing || now < pacing->burst_until) return;
    pacing->single_until = now + UDX_PACING_SINGLE_TIME;
    pacing->single_judged_from = now + UDX_PACING_SINGLE_ROUNDS * (uint64_t) udx__stream(stream)->rtt.srtt;
    pacing->lost = pacing->sent = 0;
    return;
  }
  if (!queueing) pacing->single_until = now + UDX_PACING_SINGLE_TIME;
  pacing->lost += count;
  if (now < pacing->single_judged_from) pacing->lost = pacing->sent = 0;
  if (pacing->lost < UDX_PACING_SINGLE_LOSSES) return;
  if (pacing->lost > pacing->sent / UDX_PACING_SINGLE_SHARE) {
    pacing->single_until = 0;
    pacing->burst_until = now + UDX_PACING_SINGLE_TIME;
  }
  pacing->lost = pacing->sent = 0;
}

static int
pacing_is_single (const udx_stream_t *stream) {
  return udx__stream(stream)->pacing.updated < udx__stream(stream)->pacing.single_until &&
         udx__stream(stream)->pacing.rate <= UDX_PACING_SINGLE_RATE;
}

static int64_t
pacing_burst (const udx_stream_t *stream) {
  UDX_ASSERT(udx__stream(stream)->pacing.rate >= 1);
  if (UDX_UNLIKELY(pacing_is_single(stream))) return 1; /* a packet may leave if there is any credit */
  uint64_t burst = udx__stream(stream)->pacing.rate / (UDX_SECOND / UDX_PACING_BURST);
  uint64_t least = (uint64_t) UDX_PACING_BURST_MIN * stream->mtu;
  return (int64_t) udx__max_u64(burst, least);
}

static void
pacing_refill (udx_stream_t *stream, uint64_t now) {
  udx_pacing_t *pacing = &udx__stream(stream)->pacing;
  UDX_DEBUG_ASSERT(pacing->rate >= 1);
  if (now <= pacing->updated) return;
  uint64_t elapsed = now - pacing->updated;
  pacing->updated = now;
  int64_t burst = pacing_burst(stream);
  if (pacing->waiting) {
    /* but no more than a quarter of a flight, and little if many streams do it at once: no burst may fill a queue */
    uint64_t late = udx__min_u64(UDX_PACING_LATE, udx__stream(stream)->rtt.srtt / 4) /
                    (1 + udx__socket(stream->socket)->stream_count / 8);
    burst += (int64_t) (pacing->rate / 1000 * late / 1000);
  }
  UDX_ASSERT(burst > 0);
  double credit = (double) pacing->credit + (double) pacing->rate * (double) elapsed / (double) UDX_SECOND;
  pacing->credit = credit > (double) burst ? burst : (int64_t) credit;
}

void
udx__pacing_set_rate (udx_stream_t *stream, double bytes_per_second) {
  if (bytes_per_second < 1) bytes_per_second = 1;
  if (bytes_per_second > 1e12) bytes_per_second = 1e12;
  udx__stream(stream)->pacing.rate = (uint64_t) bytes_per_second;
  stream->pacing_bytes_per_ms = (uint32_t) (udx__stream(stream)->pacing.rate / 1000); /* at most 1e9 */
  UDX_ASSERT(udx__stream(stream)->pacing.rate >= 1);
}

int
udx__pacing_ready (udx_stream_t *stream, uint64_t now) {
  pacing_refill(stream, now);
  udx__stream(stream)->pacing.waiting = 0;
  return udx__stream(stream)->pacing.credit > 0;
}

void
udx__pacing_spend (udx_stream_t *stream, uint32_t bytes) {
  UDX_DEBUG_ASSERT(bytes > 0);
  udx__stream(stream)->pacing.credit -= bytes;
  udx__stream(stream)->pacing.sent++;
}

void
udx__pacing_wait (udx_stream_t *stream, uint64_t now) {
  UDX_ASSERT(udx__stream(stream)->pacing.credit <= 0);
  udx_pacing_t *pacing = &udx__stream(stream)->pacing;
  /* wake for half a burst at once: fewer, larger batches */
  int64_t want = (pacing_burst(stream) + 1) / 2 - pacing->credit;
  double wait = (double) want * (double) UDX_SECOND / (double) pacing->rate;
  pacing->waiting = 1;
  if (wait < 1) wait = 1;
  if (wait > 10.0 * UDX_SECOND) wait = 10.0 * UDX_SECOND;
  /* on a grid, so that streams wake together and share batches; the credit makes up for it */
  uint64_t at = now + (uint64_t) wait + UDX_PACING_GRID - 1;
  pacing->at = at - at % UDX_PACING_GRID;
  UDX_ASSERT(pacing->at > now);
  udx__timer_at_most(stream, pacing->at);
  UDX_TRACE(stream->udx, timer(stream, UDX_TRACE_PACING, UDX_TRACE_SET, pacing->at));
}
