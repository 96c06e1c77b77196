/* RACK-TLP (RFC 8985), retransmission timeout, F-RTO (RFC 5682). */
#ifndef UDX_ENGINE_RECOVERY_H
#define UDX_ENGINE_RECOVERY_H

#include "packet.h"

/* Whether the latest retransmission timeout was spurious (RFC 5682). */
enum {
  UDX_FRTO_NONE = 0,
  UDX_FRTO_PENDING = 1,
  UDX_FRTO_SPURIOUS = 2,
};

typedef struct udx_recovery_s {
  uint8_t state;
  uint8_t reordering_seen;
  uint8_t reo_wnd_mult; /* reordering window in quarters of the minimum RTT */
  uint8_t tlp_pending;
  uint8_t tlp_is_retrans;
  uint8_t tlp_sampled; /* an RTT sample was taken since the last probe */
  uint8_t backoff;
  uint8_t rack_valid;
  uint32_t high_seq;
  uint32_t tlp_end_seq;
  uint8_t hole_probes; /* of the oldest hole */
  uint8_t reported;    /* the latest acknowledgement listed ranges */
  uint8_t frto;        /* UDX_FRTO_* */
  uint8_t migrated;    /* high_seq is where the packets of the former path end */
  uint32_t prior_cwnd;
  uint32_t prior_ssthresh;
  uint32_t fack;
  uint32_t rack_end_seq;
  uint32_t rack_rtt;
  uint32_t reo_wnd_round;
  uint64_t rack_xmit_ts;
  uint64_t stalled_since;
  uint64_t rto_at;
  uint64_t tlp_at;
  uint64_t reo_at;
} udx_recovery_t;

enum {
  UDX_RECOVERY_OPEN = 0,
  UDX_RECOVERY_FAST = 1,
  UDX_RECOVERY_LOSS = 2,
};

void
udx__recovery_init (udx_stream_t *stream);

/* A packet was transmitted (any time but an RTO's bookkeeping). */
void
udx__recovery_sent (udx_stream_t *stream, uint32_t seq, int is_new, uint64_t now);

/* A packet was acknowledged for the first time. */
void
udx__recovery_acked (udx_stream_t *stream, uint32_t seq, udx_packet_t *packet, uint64_t now);

/* After an acknowledgement was applied: state, loss detection, timers. */
void
udx__recovery_update (udx_stream_t *stream, uint32_t old_una, uint64_t now);

/* us without progress until the stream gives up, and the timeouts that the oldest packet must have had by then. */
uint64_t
udx__give_up_after (const udx_stream_t *stream);
unsigned int
udx__timeouts_until_give_up (const udx_stream_t *stream);

/* The packet may have left over a path that is gone: it measures nothing of the path in use. */
int
udx__recovery_is_of_former_path (const udx_stream_t *stream, uint32_t seq);

/* The old path is gone: all that flies there is to be sent again. The time to give up goes on. */
void
udx__recovery_migrated (udx_stream_t *stream, uint64_t now);

/*
 * The peer was heard beside the stream: the retransmission timeout is now. It counts as any other, so that a path which
 * carries nothing of the stream is given up.
 */
void
udx__recovery_hasten (udx_stream_t *stream, uint64_t now);

/* The timers. 0 if the stream closed. */
int
udx__recovery_timeout (udx_stream_t *stream, uint64_t now);

#endif
