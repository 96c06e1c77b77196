/*
 * Constants of the protocol and bounds of the engine: the unit and the reason stand in the line above each. The
 * relations between them are asserted at the end.
 */
#ifndef UDX_ENGINE_LIMITS_H
#define UDX_ENGINE_LIMITS_H

#include <assert.h>
#include <stdint.h>

/* ---- units ---- */
/* us: a millisecond */
#define UDX_MS 1000u
/* us: a second */
#define UDX_SECOND 1000000u

/* ---- public structs ---- */
/* bytes: of every public struct stay free for the state of later versions */
#define UDX_ROOM_SPARE 16

/* ---- packets (udx.md 1, 8) ---- */
/* bytes: IPv4, UDP and UDX headers */
#define UDX_OVERHEAD_V4 48
/* bytes: IPv6, UDP and UDX headers */
#define UDX_OVERHEAD_V6 68
/* bytes: data_offset is one byte */
#define UDX_PADDING_MAX 255
/* bytes: what every peer can receive, and the longest payload that is kept out of order */
#define UDX_DATAGRAM_MAX 2048
/* ranges per acknowledgement: fills a 1200 byte IPv6 packet; libudx sends 50 and takes any number (udx.md 1.3, 11.3) */
#define UDX_SACK_BLOCKS_MAX 140
/* ranges of one acknowledgement that are looked at: more than libudx sends; each may cost the walk over a gap */
#define UDX_SACK_BLOCKS_TAKEN 64

/* ---- sending ---- */
/* packets: slots of the smallest ring */
#define UDX_FLIGHT_MIN 16
/* packets between una and nxt: 75 MB at 1152 bytes; bounds the ring to 4 MB */
#define UDX_FLIGHT_MAX 65536
/* sizes of rings: every power of two from the smallest to the largest, and one to spare */
#define UDX_RING_CLASSES 14
/* rings per size: what streams in turn reuse */
#define UDX_RINGS_CACHED 8
/* bytes beyond one flight: the application waits for drain above it (udx.md 2.4) */
#define UDX_WRITE_HIGH_WATER 262144
/* datagrams: queued per socket while the kernel is full */
#define UDX_SENDS_MAX 4096
/* datagrams per transmit call: four full segmented ones */
#define UDX_BATCH_MAX 192
/* pieces per transmit call: three per datagram */
#define UDX_BATCH_BUFS 640
/* pieces of one packet that are gathered: more are copied together */
#define UDX_PIECES_MAX 8
/* bytes per transmit call for what has to be copied */
#define UDX_BATCH_ARENA 16384
/* bytes: the largest thing that is copied */
#define UDX_ARENA_ITEM 1536
/* packets a socket sends in one turn: no receive buffer takes more at once */
#define UDX_TURN_MAX 2048
/* us: until such a socket goes on if no acknowledgement comes first */
#define UDX_TURN_GAP 500
/* packets one stream sends before the next one has its turn: one segmented datagram */
#define UDX_QUANTUM 44

/* ---- receiving ---- */
/* packets: how far ahead of the next expected seq a packet is kept (udx.md 10, OBS-9) */
#define UDX_SEQ_AHEAD_MAX 65536
/* ranges per stream: the set is an array */
#define UDX_REORDER_RUNS_MAX 2048
/* windows: memory for early packets per stream; a hole may be lost three times */
#define UDX_REORDER_WINDOWS 4
/* bytes: but at least this much memory for early packets, whatever the window */
#define UDX_REORDER_BYTES_MIN 1048576
/* bytes of early packets per instance, whatever the number of streams */
#define UDX_REORDER_TOTAL_MAX 268435456u
/* bytes: payload of the common block; longer ones take a block for UDX_DATAGRAM_MAX */
#define UDX_REORDER_SMALL 1500
/* ranges: the record of what the peer reported; only an optimisation */
#define UDX_SACKED_RANGES_MAX 1024
/* blocks of 2 KiB, kept per instance for reuse */
#define UDX_BUFFERS_CACHED 512
/* bytes: the record of a control packet */
#define UDX_CONTROL_SIZE 128
/* records, kept per instance for reuse */
#define UDX_CONTROLS_CACHED 64
/* control packets queued per socket while the kernel is full: a peer causes those that find no room again */
#define UDX_CONTROLS_MAX 1024
/* control packets queued per socket once a DESTROY is added: one per stream, whose state was larger than the record */
#define UDX_RESETS_MAX UDX_STREAMS_MAX
/* acknowledgements sent twice: without a round-trip time the loss of a first one costs the peer a second */
#define UDX_ACK_EARLY 6
/* packets: an acknowledgement of fewer is not sent twice */
#define UDX_ACK_EARLY_PACKETS 3

/* ---- instance ---- */
/* streams per instance: the id table takes 128 MB then */
#define UDX_STREAMS_MAX (1u << 22)
/* closed streams remembered: 88 bytes each */
#define UDX_TIME_WAIT_MAX 1024
/* us: peers of all versions give up after 13 s */
#define UDX_TIME_WAIT (15 * UDX_SECOND)
/* answers per closed stream */
#define UDX_TIME_WAIT_ANSWERS 32
/* us between two answers: what is in flight already needs no second one */
#define UDX_TIME_WAIT_SPACING (20 * UDX_MS)
/* copies of the last acknowledgement on a path that loses packets */
#define UDX_FINAL_ACKS 4
/* packets to a new remote before it acknowledges one (RFC 9000, section 8) */
#define UDX_AMPLIFICATION_PACKETS UDX_CWND_INITIAL
/* us: after it as many more, if acknowledgements come from another address */
#define UDX_AMPLIFICATION_INTERVAL (100 * UDX_MS)
/* packets to a remote that only others have named, before one comes from there */
#define UDX_CLAIMED_PACKETS 3
/* packets: how old the ack of a packet from another address may be */
#define UDX_ACK_BEHIND_MAX 65536
/* remotes of an instance whose datagrams are answered from the address that they asked: 8 bytes each */
#define UDX_ASKED_ENTRIES 1024
/* seconds that an answer takes: a handshake that is passed on */
#define UDX_ASKED_SECONDS 10
/* remotes of one stream with packets outstanding */
#define UDX_PATHS_MAX 8

/* ---- the source check ---- */
/* sources of one stream that are paths beside its remote: former remotes, and those that have proved themselves */
#define UDX_KNOWN_PATHS_MAX 8
/* sources of one stream whose packets are held: a peer has one new address, or two while it moves twice */
#define UDX_STRANGERS_MAX 4
/* packets held of one source, and how far ahead: a message of 64 KiB in packets of deployed peers is 57 */
#define UDX_HELD_MAX 64
/* bytes of held packets per instance: 40 streams whose peers all move within a message of that size take 3 MiB */
#define UDX_HELD_TOTAL_MAX 16777216u
/* packets that the owner has refused, per interval: it checks a frame for each */
#define UDX_REFUSALS_MAX 64
/* us: the interval */
#define UDX_REFUSALS_INTERVAL (100 * UDX_MS)
/* us: the remote has been silent for as long when the stream may be led elsewhere: a late packet is no reason */
#define UDX_STRAY_SILENCE UDX_RTO_MIN

/* ---- round trips and timeouts (udx.md 3.4, 3.6, 3.7) ---- */
/* us: before the first sample */
#define UDX_RTO_INITIAL (1000 * UDX_MS)
/* us: after a sample; nothing on the wire depends on it (udx.md 10.3) */
#define UDX_RTO_MIN (250 * UDX_MS)
/* us: the minimum after spurious timeouts, each of which doubles it */
#define UDX_RTO_MIN_MAX (1000 * UDX_MS)
/* us: the longest timeout */
#define UDX_RTO_MAX (30 * UDX_SECOND)
/* us: the back-off reaches max(this, 2 rto) and stays */
#define UDX_RTO_SPACING_MIN (2000 * UDX_MS)
/* timeouts of one packet: the next one closes the stream; fewer where they are far apart */
#define UDX_TIMEOUTS_MAX 6
/* times max(rto, 1 s) without progress: a stream does not close earlier, unless that is late */
#define UDX_GIVE_UP_FACTOR 13
/* us: late is after this, 20 s after the last sign of life with the default keepalive, ... */
#define UDX_GIVE_UP_LATE (15 * UDX_SECOND)
/* ... or after so many rto: two timeouts, with time for an answer to the second */
#define UDX_GIVE_UP_TIMEOUTS 4
/* us: added for a peer that was heard since the last repetition; two more of these fit */
#define UDX_RETURN_GRACE (2 * UDX_RTO_SPACING_MIN)
/* us: no sample is longer */
#define UDX_RTT_CAP (30 * UDX_SECOND)
/* us: longer samples are cut to the estimate, the machine may have slept */
#define UDX_RTT_OUTLIER (5 * UDX_SECOND)
/* us: the minimum is of this window */
#define UDX_RTT_MIN_WINDOW (300 * (uint64_t) UDX_SECOND)
/* us: a sleeping peer is not a lost packet */
#define UDX_TLP_MIN (4 * UDX_MS)
/* us: added for a single packet, whose acknowledgement may be delayed */
#define UDX_TLP_SINGLE (2 * UDX_MS)
/* probes of one hole before the timeout */
#define UDX_HOLE_PROBES 3
/* us: they put the timeout off by no more, so that a dead peer is given up no later */
#define UDX_HOLE_PROBES_TIME (1000 * UDX_MS)
/* us: beyond two round trips, before a whole tail is taken for lost */
#define UDX_SILENCE (20 * UDX_MS)
/* quarters of the minimum RTT: the widest reordering window (RFC 8985) */
#define UDX_REO_WND_MULT_MAX 16
/* packets reported above a hole: then without reordering seen there is no window */
#define UDX_REO_SACKED_MIN 3

/* ---- congestion control (udx.md 4) ---- */
/* packets: the initial window */
#define UDX_CWND_INITIAL 10
/* packets: the least window after loss */
#define UDX_CWND_MIN 4
/* packets: more cannot be recorded */
#define UDX_CWND_MAX UDX_FLIGHT_MAX
/* packets: no threshold yet */
#define UDX_SSTHRESH_INITIAL 65535
/* us: credit that may be saved up */
#define UDX_PACING_BURST (1 * UDX_MS)
/* us: credit that is made up for if the wake-up comes late */
#define UDX_PACING_LATE (20 * UDX_MS)
/* us: deadlines are rounded up to it, so that streams wake together */
#define UDX_PACING_GRID 250
/* packets: the least burst */
#define UDX_PACING_BURST_MIN 2
/* us: packets go singly after a loss without a queue, or in bursts if that does not help */
#define UDX_PACING_SINGLE_TIME (10 * UDX_SECOND)
/* packets lost before single packets are judged */
#define UDX_PACING_SINGLE_LOSSES 32
/* a larger share than one in this many lost: single packets do not help */
#define UDX_PACING_SINGLE_SHARE 5
/* round trips before single packets are judged: earlier flights and the start-up end */
#define UDX_PACING_SINGLE_ROUNDS 16
/* bytes per second: above it a timer tick is worth several packets anyway */
#define UDX_PACING_SINGLE_RATE 12500000u
/* us: least RTT of the bandwidth-delay product; schedulers are not finer */
#define UDX_MIN_RTT_FLOOR (1 * UDX_MS)

/* ---- macroflows (RFC 3124) ---- */
/* hash buckets per instance */
#define UDX_MACROFLOW_BUCKETS 1024
/* bytes in flight to one address without proof: fits any receive buffer */
#define UDX_MACROFLOW_MIN 262144u
/* us: the above once more for each of these in the least RTT, which is 1 Gbit/s */
#define UDX_MACROFLOW_MIN_TIME (2 * UDX_MS)
/* bytes: up to here a queue of UDX_MACROFLOW_QUEUE does not stop growth */
#define UDX_MACROFLOW_TOLERANT 1048576u
/* bytes: the largest budget */
#define UDX_MACROFLOW_MAX 268435456u
/* us beyond twice the least RTT: schedulers are not finer */
#define UDX_MACROFLOW_QUEUE (4 * UDX_MS)
/* packets per turn of a stream while streams wait: turns are even */
#define UDX_MACROFLOW_TURN 6
/* us: then a stream with nothing in flight sends one packet beyond the budget */
#define UDX_MACROFLOW_WAIT_MAX (50 * UDX_MS)

/* ---- flow control (udx.md 4.7) ---- */
/* bytes: the window that is offered, and assumed of a silent peer */
#define UDX_WINDOW_DEFAULT 4194304u
/* bytes: less is offered as 0, old peers stall otherwise */
#define UDX_WINDOW_SMALLEST 1500u
/* unanswered heartbeats before a packet that every version answers probes the window (udx.md 11.3) */
#define UDX_ZWP_HEARTBEATS 1
/* us: longest interval of such probes, the default keepalive: a dead peer is noticed as by that */
#define UDX_ZWP_SPACING_MAX (5 * UDX_SECOND)
/* us: first look whether a closed window opened */
#define UDX_REOPEN_POLL_MIN (5 * UDX_MS)
/* us: longest interval of such looks */
#define UDX_REOPEN_POLL_MAX (100 * UDX_MS)
/* doublings from the first to the longest interval */
#define UDX_REOPEN_POLL_DOUBLINGS 5

/* ---- path MTU discovery (udx.md 5, RFC 8899) ---- */
/*
 * times max(rto, 1 s): so long packets of the peer are missing while only smaller ones than the base come, then the
 * path does not carry the peer's. It has sent them at least three times meanwhile; our own peers send smaller ones
 * after UDX_MTU_BLACK_HOLE timeouts, which takes 5.
 */
#define UDX_GAP_FACTOR 7
/* of these intervals one of the peer's small packets came in, at least: the path works. They are asked for. */
#define UDX_GAP_HEARD 5
/* bytes of IP packet: MIN_PLPMTU, what every IPv4 host takes (RFC 791) */
#define UDX_MTU_MIN 576
/* bytes: a longer datagram of the application may be fragmented, for it cannot be cut; IPv6 headers with it */
#define UDX_DATAGRAM_WHOLE (UDX_MTU_MIN - 48)
/* bytes of IP packet: BASE_PLPMTU */
#define UDX_MTU_BASE 1200
/* bytes of IP packet: MAX_PLPMTU */
#define UDX_MTU_MAX 1500
/* bytes: the search goes up by this */
#define UDX_MTU_STEP 32
/* lost probes of one size that end the search: MAX_PROBES */
#define UDX_MTU_PROBES 3
/* us until a completed search looks again: PMTU_RAISE_TIMER */
#define UDX_MTU_RAISE_TIME (600 * (uint64_t) UDX_SECOND)
/* bytes: below the base the search goes up by this, halved where it fails; the padding of a probe allows no more */
#define UDX_MTU_STEP_COARSE UDX_PADDING_MAX
/* timeouts in a row of a large oldest packet before the size falls: to the base, from there to the least */
#define UDX_MTU_BLACK_HOLE 3

/* ---- memory after a burst (io/trim.h) ---- */
/* bytes sent and received since the last time: less leaves nothing behind that is worth a walk over the heap */
#define UDX_TRIM_TRAFFIC (16u << 20)
/* us: from one look at the traffic to the next */
#define UDX_TRIM_LOOK (500 * UDX_MS)
/* bytes between two looks: a burst that is not over moves more */
#define UDX_TRIM_QUIET 65536
/* us: once in so long per process */
#define UDX_TRIM_INTERVAL (10 * UDX_SECOND)
/* times what it took: nor before that, a hundredth of the time at most */
#define UDX_TRIM_SHARE 100

/* ---- checks (debug builds) ---- */
/* packets: a larger flight is walked by one check in UDX_CHECK_PERIOD only */
#define UDX_CHECK_WALK_MAX 64
/* checks */
#define UDX_CHECK_PERIOD 256
/* streams checked after each entry point of the driver */
#define UDX_CHECK_STREAMS 16

/* ---- relations ---- */

_Static_assert((UDX_FLIGHT_MAX & (UDX_FLIGHT_MAX - 1)) == 0, "a ring is indexed with a mask");
_Static_assert((UDX_FLIGHT_MIN & (UDX_FLIGHT_MIN - 1)) == 0, "a ring is indexed with a mask");
_Static_assert((uint64_t) UDX_FLIGHT_MIN << (UDX_RING_CLASSES - 1) >= UDX_FLIGHT_MAX, "every size has a class");
_Static_assert(UDX_CWND_MAX <= UDX_FLIGHT_MAX, "a full window can be recorded");
_Static_assert(
  UDX_CWND_MIN <= UDX_CWND_INITIAL && UDX_CWND_INITIAL <= UDX_FLIGHT_MIN, "a first flight fits a small ring");
_Static_assert(UDX_OVERHEAD_V6 + 8 * UDX_SACK_BLOCKS_MAX <= UDX_MTU_BASE, "all ranges fit the smallest packet");
_Static_assert(8 * UDX_SACK_BLOCKS_MAX <= UDX_ARENA_ITEM && UDX_MTU_MAX <= UDX_ARENA_ITEM, "what is copied fits");
_Static_assert(UDX_SACK_BLOCKS_TAKEN <= UDX_SACK_BLOCKS_MAX, "no sender needs more");
_Static_assert(UDX_HELD_MAX <= UDX_REORDER_RUNS_MAX, "what is held fits the store that it goes to");
_Static_assert(UDX_ARENA_ITEM <= UDX_BATCH_ARENA, "one item fits the arena");
_Static_assert(UDX_PIECES_MAX + 2 <= UDX_BATCH_BUFS, "one packet with header and padding fits a batch");
_Static_assert(UDX_QUANTUM <= UDX_BATCH_MAX && UDX_MACROFLOW_TURN <= UDX_QUANTUM, "turns fit a batch");
_Static_assert(UDX_MTU_BASE < UDX_MTU_MAX && UDX_MTU_MAX <= UDX_DATAGRAM_MAX, "every peer takes every size");
_Static_assert(UDX_MTU_MAX - UDX_OVERHEAD_V4 <= UDX_REORDER_SMALL, "packets of our own fit the common block");
_Static_assert(UDX_GAP_HEARD < UDX_GAP_FACTOR, "an answer may be lost");
_Static_assert(UDX_GAP_FACTOR < UDX_GIVE_UP_FACTOR, "the reason is known before the peer gives up");
_Static_assert(UDX_MTU_MIN<UDX_MTU_BASE && UDX_MTU_MIN> UDX_OVERHEAD_V6, "a least packet carries data");
_Static_assert(UDX_MTU_STEP < UDX_MTU_STEP_COARSE, "steps are ordered");
_Static_assert(UDX_MTU_STEP_COARSE <= UDX_PADDING_MAX, "a probe is a full packet and padding");
_Static_assert(UDX_SEQ_AHEAD_MAX >= UDX_FLIGHT_MAX, "no full flight is too far ahead");
_Static_assert(UDX_REORDER_BYTES_MIN <= UDX_REORDER_TOTAL_MAX, "one stream fits the instance");
_Static_assert(UDX_RTO_MIN <= UDX_RTO_MIN_MAX && UDX_RTO_MIN_MAX <= UDX_RTO_MAX, "timeouts are ordered");
_Static_assert(UDX_RTO_INITIAL >= UDX_RTO_MIN && UDX_RTO_INITIAL <= UDX_RTO_MAX, "timeouts are ordered");
_Static_assert(UDX_HOLE_PROBES_TIME <= UDX_RTO_SPACING_MIN / 2, "the last timeout before the end is not lost");
_Static_assert(UDX_GIVE_UP_FACTOR *UDX_SECOND <= UDX_GIVE_UP_LATE, "timeouts of a second are not late");
_Static_assert(UDX_TIME_WAIT > UDX_GIVE_UP_FACTOR * UDX_SECOND, "a closed stream answers until its peer gives up");
_Static_assert(UDX_TIME_WAIT_MAX < UINT16_MAX, "indices are 16 bits");
_Static_assert(UDX_MACROFLOW_MIN <= UDX_MACROFLOW_TOLERANT && UDX_MACROFLOW_TOLERANT <= UDX_MACROFLOW_MAX, "ordered");
_Static_assert(UDX_WINDOW_SMALLEST >= UDX_MTU_MAX && UDX_WINDOW_SMALLEST < UDX_WINDOW_DEFAULT, "a packet fits");
_Static_assert(
  (uint64_t) UDX_REOPEN_POLL_MIN << UDX_REOPEN_POLL_DOUBLINGS >= UDX_REOPEN_POLL_MAX, "the longest is reached");

#endif
