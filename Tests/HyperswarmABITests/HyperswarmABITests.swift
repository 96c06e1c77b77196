import CHyperswarmChecks
import XCTest

/// The C programs of HyperswarmABIChecks, one test each.
final class HyperswarmABITests: XCTestCase {
  func testErrorsHaveStableNumbersAndNames() { XCTAssertEqual(check_errors(), 0) }
  func testKeys() { XCTAssertEqual(check_keys(), 0) }
  func testBadArgumentsGiveErrors() { XCTAssertEqual(check_arguments(), 0) }
  func testCallersLoopIsRefusedToOtherThreads() { XCTAssertEqual(check_threads(), 0) }
  func testCreateFailuresLeaveNothing() { XCTAssertEqual(check_create_failures(), 0) }
  func testTwoSwarmsMeetAndTransferBothWays() { XCTAssertEqual(check_topic_transfer(), 0) }
  func testOwnThreads() { XCTAssertEqual(check_own_threads(), 0) }
  func testConnectByKey() { XCTAssertEqual(check_connect_by_key(), 0) }
  func testFirewallRefuses() { XCTAssertEqual(check_refused(), 0) }
  func testRelaysAreNamedAndServed() { XCTAssertEqual(check_relays(), 0) }
  func testValues() { XCTAssertEqual(check_values(), 0) }
  func testAnnouncements() { XCTAssertEqual(check_announcements(), 0) }
  func testPeersSuspendAndBan() { XCTAssertEqual(check_peers(), 0) }
  func testQueuesAreBounded() { XCTAssertEqual(check_bounds(), 0) }
  func testDestroyInEachCallback() { XCTAssertEqual(check_destroy_in_callbacks(), 0) }
  func testEverythingPendingIsSettledByDestroy() { XCTAssertEqual(check_pending_at_destroy(), 0) }
  func testThreadsUseWhatGoesAway() { XCTAssertEqual(check_concurrent_use(), 0) }
  func testInheritedHandlesAreRefusedAfterAFork() { XCTAssertEqual(check_fork(), 0) }
  func testANetworkThatDoesNotAnswerIsToldOf() { XCTAssertEqual(check_network(), 0) }
  func testProofOfTheKeyIsAStateAndACallback() { XCTAssertEqual(check_peer_proof(), 0) }
  func testErrorsCarryWhatTheSystemSaid() { XCTAssertEqual(check_error_details(), 0) }
  func testProgramsOfTheFirstVersionGoOnWorking() { XCTAssertEqual(check_older_programs(), 0) }
  func testPolledLoopsAreToldApart() { XCTAssertEqual(check_polled_loop(), 0) }
  func testPolledLoopsOnSeveralThreads() { XCTAssertEqual(check_polled_threads(), 0) }
  func testEventsAndLog() { XCTAssertEqual(check_events(), 0) }
  func testEventsOfTheNode() { XCTAssertEqual(check_node_events(), 0) }
  func testFirewallsMayAnswerLater() { XCTAssertEqual(check_late_verdicts(), 0) }
  func testOperationsCanBeCancelled() { XCTAssertEqual(check_cancel(), 0) }
  func testNodesOfTheNetwork() { XCTAssertEqual(check_nodes(), 0) }
  func testTopicsAreListedLimitedAndCleared() { XCTAssertEqual(check_topics(), 0) }
  func testTextsOfKeys() { XCTAssertEqual(check_key_texts(), 0) }
  func testBorrowedWritesComeBack() { XCTAssertEqual(check_borrowed_writes(), 0) }
  func testServersCanBeBusySuspendedAndRefreshed() { XCTAssertEqual(check_server_functions(), 0) }
  func testTraces() { XCTAssertEqual(check_trace(), 0) }
  func testChannelsAndAConversationOverThem() { XCTAssertEqual(check_channels(), 0) }
  func testChannelsThatAreRefusedFullOrBroken() { XCTAssertEqual(check_channel_errors(), 0) }
  func testPeersThatBreakTheProtocolOfChannels() { XCTAssertEqual(check_channel_violations(), 0) }
  func testThreadsSendOnChannels() { XCTAssertEqual(check_channel_threads(), 0) }
  func testRequestsAndQueriesOfOnesOwn() { XCTAssertEqual(check_commands(), 0) }
  func testRandomCalls() { XCTAssertEqual(check_random_calls(), 0) }
}
