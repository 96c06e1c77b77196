/* Constants of the protocol and bounds of the engine, with units and reasons. */
#ifndef UDX_ENGINE_LIMITS_H
#define UDX_ENGINE_LIMITS_H

#include <stdint.h>

#define UDX_ROOM_SPARE 24 /* bytes of every public struct that stay free for later versions */

#define UDX_MS 1000u        /* us */
#define UDX_SECOND 1000000u /* us */

/* ---- packets (spec 1, 8) ---- */
#define UDX_OVERHEAD_V4 48 /* IP + UDP + UDX header, bytes */
#define UDX_OVERHEAD_V6 68
#define UDX_PADDING_MAX 255
#define UDX_DATAGRAM_MAX 2048 /* what every peer can receive, and what we keep out of order, bytes */
#define UDX_SACK_BLOCKS_MAX                                                                                            \
  140 /* per acknowledgement: a 1200 byte IPv6 packet; libudx sends 50 and takes any number (spec 1.3, 11.3) */

/* ---- sending ---- */
#define UDX_FLIGHT_MIN 16           /* slots of the smallest ring */
#define UDX_FLIGHT_MAX 65536        /* packets between una and nxt: 75 MB at 1152 bytes; bounds the ring to 4 MB */
#define UDX_WRITE_HIGH_WATER 262144 /* bytes (spec 2.4) */
#define UDX_SENDS_MAX 4096          /* datagrams queued per socket while the kernel is full */
#define UDX_BATCH_MAX 192           /* datagrams per transmit call: four full segmented ones */
#define UDX_BATCH_BUFS 640          /* pieces per transmit call */
#define UDX_PIECES_MAX 8            /* pieces of one packet that are gathered; more are copied together */
#define UDX_BATCH_ARENA 16384       /* bytes per transmit call for what has to be copied */
#define UDX_ARENA_ITEM 1536         /* the largest such thing */
#define UDX_TURN_MAX 2048           /* packets a socket sends in one go: no receive buffer takes more at once ... */
#define UDX_TURN_GAP 500            /* ... then, if no acknowledgement comes first, us until it goes on */
#define UDX_QUANTUM 44              /* packets one stream sends before the next one's turn: one segmented datagram */

/* ---- receiving ---- */
#define UDX_SEQ_AHEAD_MAX 65536   /* how far ahead of the next expected seq a packet is kept (OBS-9) */
#define UDX_REORDER_RUNS_MAX 2048 /* ranges per stream; the set is an array */
#define UDX_REORDER_WINDOWS 4     /* memory for early packets per stream, in windows: holes lost twice and thrice ... */
#define UDX_REORDER_BYTES_MIN 1048576    /* ... but at least this many bytes */
#define UDX_REORDER_TOTAL_MAX 268435456u /* bytes per instance, whatever the number of streams */
#define UDX_REORDER_SMALL 1500     /* payload bytes of the common block; larger packets take one for UDX_DATAGRAM_MAX */
#define UDX_SACKED_RANGES_MAX 1024 /* sender's record of what was reported; only an optimisation */
#define UDX_BUFFERS_CACHED 512     /* 2 KiB each, kept per instance for reuse */
#define UDX_CONTROL_SIZE 128       /* bytes of a control packet's record */
#define UDX_CONTROLS_CACHED 64
#define UDX_CONTROLS_MAX 1024 /* control packets queued per socket */
#define UDX_RING_CLASSES 14
#define UDX_RINGS_CACHED 8 /* per size class */

#define UDX_ACK_EARLY                                                                                                  \
  6 /* first acknowledgements of several packets: losing one costs the peer, without an RTT yet, a second */
#define UDX_ACK_EARLY_PACKETS 3

/* ---- instance ---- */
#define UDX_STREAMS_MAX (1u << 22)      /* per instance: the id table then takes 128 MB */
#define UDX_TIME_WAIT_MAX 1024          /* closed streams remembered, 88 bytes each */
#define UDX_TIME_WAIT (15 * UDX_SECOND) /* peers of all versions give up after 13 s */
#define UDX_TIME_WAIT_ANSWERS 32        /* per closed stream */
#define UDX_TIME_WAIT_SPACING (20 * UDX_MS)
#define UDX_FINAL_ACKS 4                           /* copies of the last acknowledgement on a path that loses packets */
#define UDX_AMPLIFICATION_PACKETS UDX_CWND_INITIAL /* to a new remote before it acknowledges anything */
#define UDX_AMPLIFICATION_INTERVAL                                                                                     \
  (100 * UDX_MS)                 /* as many more, if somebody else acknowledges: a peer of two addresses, or a liar */
#define UDX_ACK_BEHIND_MAX 65536 /* how old an ack of a stranger's packet may be */
#define UDX_PATHS_MAX 8          /* remotes of one stream with packets outstanding */

/* ---- round trips and timeouts (spec 3.4, 3.6, 3.7) ---- */
#define UDX_RTO_INITIAL (1000 * UDX_MS)
#define UDX_RTO_MIN (250 * UDX_MS)      /* after a sample; nothing on the wire depends on it (spec 10.3) */
#define UDX_RTO_MIN_MAX (1000 * UDX_MS) /* the minimum after needless timeouts, each of which doubles it */
#define UDX_RTO_MAX (30 * UDX_SECOND)
#define UDX_RTO_SPACING_MIN (2000 * UDX_MS) /* the back-off reaches max(this, 2 rto) and stays */
#define UDX_TIMEOUTS_MAX 6                  /* per packet; the next one closes ... */
#define UDX_GIVE_UP_FACTOR 13               /* ... but not before 13 * max(rto, 1 s) without progress */
#define UDX_RTT_CAP (30 * UDX_SECOND)
#define UDX_RTT_OUTLIER (5 * UDX_SECOND)
#define UDX_RTT_MIN_WINDOW (300 * (uint64_t) UDX_SECOND)
#define UDX_TLP_MIN (4 * UDX_MS) /* a sleeping peer is not a lost packet */
#define UDX_TLP_SINGLE (2 * UDX_MS)
#define UDX_SILENCE (20 * UDX_MS) /* beyond two round trips, before a whole tail is taken for lost */
#define UDX_REO_WND_MULT_MAX 16   /* quarters of the minimum RTT */
#define UDX_REO_SACKED_MIN 3

/* ---- congestion control (spec 4) ---- */
#define UDX_CWND_INITIAL 10 /* packets */
#define UDX_CWND_MIN 4
#define UDX_CWND_MAX UDX_FLIGHT_MAX
#define UDX_SSTHRESH_INITIAL 65535
#define UDX_PACING_BURST (1 * UDX_MS)            /* credit that may be saved up */
#define UDX_PACING_LATE (20 * UDX_MS)            /* credit that is made up for if the wake-up came late */
#define UDX_PACING_GRID 250                      /* us; deadlines are rounded up to it */
#define UDX_PACING_BURST_MIN 2                   /* packets */
#define UDX_PACING_SINGLE_TIME (10 * UDX_SECOND) /* single packets after a loss without a queue, or none of that ... */
#define UDX_PACING_SINGLE_LOSSES 32              /* ... if, of what these were lost of, ... */
#define UDX_PACING_SINGLE_SHARE 5                /* ... more than a fifth was lost although it went one by one, ... */
#define UDX_PACING_SINGLE_ROUNDS 16 /* ... after so many round trips: what flew before, and the end of the start-up */
#define UDX_PACING_SINGLE_RATE 12500000u /* bytes per second; above that a timer tick is worth several packets anyway */
#define UDX_MIN_RTT_FLOOR (1 * UDX_MS)   /* for the BDP: schedulers and timers are not finer than this */

#define UDX_MACROFLOW_MIN 262144u /* bytes in flight to one address that need no proof: fits any receive buffer ... */
#define UDX_MACROFLOW_MIN_TIME (2 * UDX_MS) /* ... once more for each of these in the least RTT: 1 Gbit/s ... */
#define UDX_MACROFLOW_TOLERANT                                                                                         \
  1048576u /* ... up to here a queue of UDX_MACROFLOW_QUEUE is no reason to stop growing ... */
#define UDX_MACROFLOW_MAX 268435456u         /* ... and never more */
#define UDX_MACROFLOW_QUEUE (4 * UDX_MS)     /* beyond twice the least RTT: schedulers are not finer than this */
#define UDX_MACROFLOW_TURN 6                 /* packets per turn while streams wait for a budget */
#define UDX_MACROFLOW_WAIT_MAX (50 * UDX_MS) /* then a stream with nothing in flight sends one packet past the budget */

/* ---- flow control (spec 4.7) ---- */
#define UDX_WINDOW_DEFAULT 4194304u
#define UDX_WINDOW_SMALLEST 1500u /* never offer less, except 0: old peers would stall */
#define UDX_ZWP_DATA_AFTER 3      /* unanswered heartbeats before a data packet probes (spec 11.3 rule 1) */
#define UDX_REOPEN_POLL_MIN (5 * UDX_MS)
#define UDX_REOPEN_POLL_MAX (100 * UDX_MS)

/* ---- MTU search (spec 5, RFC 8899) ---- */
#define UDX_MTU_BASE 1200
#define UDX_MTU_MAX 1500
#define UDX_MTU_STEP 32
#define UDX_MTU_PROBES 3
#define UDX_MTU_RAISE_TIME (600 * (uint64_t) UDX_SECOND)
#define UDX_MTU_BLACK_HOLE 3 /* timeouts in a row of the oldest packet before falling back to the base */

/* ---- checks ---- */
#define UDX_CHECK_WALK_MAX 64
#define UDX_CHECK_PERIOD 256
#define UDX_CHECK_STREAMS 16

#endif
