// The names are those of hyperswarm_commands.h.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CHyperswarm
import HyperDHT
import HyperDHTEngine
import HyperEncoding
import HyperRPC
import HyperRuntime

// MARK: Asking

@c @implementation
public func hyperswarm_request(
  _ swarm: OpaquePointer?, _ address: UnsafePointer<CChar>?,
  _ options: UnsafePointer<hyperswarm_request_options_t>?,
  _ done: (
    @convention(c) (OpaquePointer?, Int32, UnsafePointer<hyperswarm_answer_t>?, UnsafeMutableRawPointer?) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let destination = try endpoint(try require(try text(address)))
    let given = try sized(options, from: \.time_to_live, zero: hyperswarm_request_options_t())
    let message = RequestMessage(
      command: given.command, target: try optionalKey(given.target), token: try optionalKey(given.token),
      value: try value(given.value, given.length))
    guard let ttl = UInt8(exactly: given.time_to_live), given.retries >= -1 else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    let retries = given.retries == 0 ? HyperRPC.Limits.requestRetries : Int(max(given.retries, 0))
    let failed: (Int32) -> Result<Response, Failure> = { .failure(Failure($0)) }
    let report: (Result<Response, Failure>) -> Void = { result in
      switch result {
      case .success(let response): response.withAnswer { done?(handle.pointer, Int32(HYPERSWARM_OK), $0, userData) }
      case .failure(let failure): done?(handle.pointer, failure.code, nil, userData)
      }
    }
    try handle.operation(failed: failed, report: report) { _, node, settle in
      let pending = node.rpc.request(message, to: destination, options: RequestOptions(retries: retries, ttl: ttl)) {
        settle($0.mapError { Failure(status($0)) })
      }
      handle.whenCancelled { pending.cancel() }
    }
  }
}

@c @implementation
public func hyperswarm_query(
  _ swarm: OpaquePointer?, _ options: UnsafePointer<hyperswarm_query_options_t>?,
  _ done: (
    @convention(c) (OpaquePointer?, Int32, UnsafePointer<hyperswarm_query_result_t>?, UnsafeMutableRawPointer?) -> Void
  )?, _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    let given = try sized(options, from: \.on_commit, zero: hyperswarm_query_options_t())
    let target = try key(given.target)
    let value = try value(given.value, given.length)
    let (command, onAnswer) = (given.command, given.on_answer)
    var settings = try QueryOptions(given)
    let run = CommittingQuery(swarm: handle, onCommit: given.on_commit, userData: userData)
    if given.on_commit != nil { settings.commit = { run.ask($0, $1) } }
    let queryOptions = settings
    let failed: (Int32) -> Result<QueryEnd, Failure> = { .failure(Failure($0)) }
    let report: (Result<QueryEnd, Failure>) -> Void = { result in
      switch result {
      case .success(let end): end.report { done?(handle.pointer, Int32(HYPERSWARM_OK), $0, userData) }
      case .failure(let failure): done?(handle.pointer, failure.code, nil, userData)
      }
    }
    try handle.operation(failed: failed, report: report) { _, node, settle in
      let query = node.rpc.query(target: target, command: command, value: value, options: queryOptions)
      if let onAnswer {
        query.onReply = { $0.withAnswer { onAnswer(handle.pointer, $0, userData) } }
      }
      query.onFinished = { [unowned query] result in
        let outcome = status(query.outcome(result))
        run.end()
        guard outcome != HYPERSWARM_OK else { return settle(.success(QueryEnd(query))) }
        settle(.failure(Failure(run.failure ?? outcome)))
      }
      query.start()
      handle.whenCancelled {
        query.onReply = nil
        query.onFinished = nil
        run.end()
        query.destroy()
      }
    }
  }
}

extension QueryOptions {
  fileprivate init(_ given: hyperswarm_query_options_t) throws(Failure) {
    let known = Int(HYPERSWARM_QUERY_ONLY_NODES) | Int(HYPERSWARM_QUERY_COMMIT)
    let flags = Int(given.flags)
    let commits = flags & Int(HYPERSWARM_QUERY_COMMIT) != 0
    guard flags & ~known == 0, given.reserved == 0, given.retries >= -1, !(commits && given.on_commit != nil) else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    let addresses = list(try text(given.nodes) ?? "")
    guard addresses.count <= Limits.queryNodes else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    self.init(onlySeeds: flags & Int(HYPERSWARM_QUERY_ONLY_NODES) != 0, at: try addresses.map(endpoint))
    if given.concurrency > 0 { concurrency = Int(given.concurrency) }
    if given.retries != 0 { retries = Int(max(given.retries, 0)) }
    commitsWithToken = commits
  }

  private init(onlySeeds: Bool, at seeds: [Endpoint]) { self.init(seeds: seeds, onlySeeds: onlySeeds) }
}

@c @implementation
public func hyperswarm_commit_done(_ commit: OpaquePointer?, _ status: Int32) -> Int32 {
  checked { () throws(Failure) in
    let home = try find(Handles.commits, commit).home
    guard status <= 0 else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    try home.checkThread()
    guard let handle = Handles.commits.remove(commit), home.run({ handle.finish(status) }) else {
      throw Failure(HYPERSWARM_ERR_BAD_HANDLE)
    }
  }
}

// MARK: Answering

@c @implementation
public func hyperswarm_serve(
  _ swarm: OpaquePointer?, _ command: UInt64, _ onRequest: hyperswarm_incoming_cb?,
  _ userData: UnsafeMutableRawPointer?
) -> Int32 {
  checked { () throws(Failure) in
    let handle = try find(Handles.swarms, swarm)
    guard command >= UInt64(HYPERSWARM_FIRST_FREE_COMMAND) else { throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT) }
    try handle.operation(nil, nil) { [weak handle] _, node, settle in
      let waiting = WaitingRequests()
      node.commands[command] = onRequest.map { ask in
        { request in
          if let handle { IncomingHandle.ask(handle, waiting, request, ask, userData) }
        }
      }
      settle(Int32(HYPERSWARM_OK))
    }
  }
}

@c @implementation
public func hyperswarm_incoming_reply(
  _ incoming: OpaquePointer?, _ reply: UnsafePointer<hyperswarm_reply_t>?
) -> Int32 {
  checked { () throws(Failure) in
    let known =
      Int(HYPERSWARM_REPLY_NO_TOKEN) | Int(HYPERSWARM_REPLY_NO_CLOSER_NODES) | Int(HYPERSWARM_REPLY_TOKEN)
    _ = try find(Handles.incoming, incoming)
    var given = hyperswarm_reply_t()
    if reply != nil { given = try sized(reply, from: \.reserved, zero: given) }
    let value = try value(given.value, given.length)
    let (flags, error) = (Int(given.flags), given.error)
    guard flags & ~known == 0, given.reserved == 0, error == 0 || value == nil else {
      throw Failure(HYPERSWARM_ERR_INVALID_ARGUMENT)
    }
    let address = try text(given.address)
    let destination = try address.map { address throws(Failure) in try endpoint(address) }
    let closerNodes = flags & Int(HYPERSWARM_REPLY_NO_CLOSER_NODES) == 0
    try answer(incoming) { request in
      if error == 0 {
        let token = flags & Int(HYPERSWARM_REPLY_NO_TOKEN) == 0
        request.reply(value, token: token, closerNodes: closerNodes, to: destination)
      } else {
        let token = flags & Int(HYPERSWARM_REPLY_TOKEN) != 0
        request.error(error, token: token, closerNodes: closerNodes, to: destination)
      }
    }
  }
}

@c @implementation
public func hyperswarm_incoming_relay(
  _ incoming: OpaquePointer?, _ data: UnsafeRawPointer?, _ length: Int, _ address: UnsafePointer<CChar>?
) -> Int32 {
  checked { () throws(Failure) in
    _ = try find(Handles.incoming, incoming)
    let value = try value(data, length)
    let destination = try endpoint(try require(try text(address)))
    try answer(incoming) { $0.relay(value, to: destination) }
  }
}

@c @implementation
public func hyperswarm_incoming_drop(_ incoming: OpaquePointer?) -> Int32 {
  checked { () throws(Failure) in try answer(incoming) { _ in } }
}

private func answer(_ incoming: OpaquePointer?, _ body: @escaping (IncomingRequest) -> Void) throws(Failure) {
  let home = try find(Handles.incoming, incoming).swarm.home
  try home.checkThread()
  guard let handle = Handles.incoming.remove(incoming), home.run({ handle.finish(body) }) else {
    throw Failure(HYPERSWARM_ERR_BAD_HANDLE)
  }
}

private func optionalKey(_ pointer: UnsafePointer<UInt8>?) throws(Failure) -> Bytes32? {
  pointer == nil ? nil : try key(pointer)
}

private func value(_ data: UnsafeRawPointer?, _ length: Int) throws(Failure) -> [UInt8]? {
  let bytes = try bytes(data, length)
  guard bytes.count <= Limits.datagram else { throw Failure(HYPERSWARM_ERR_MESSAGE_TOO_LARGE) }
  return bytes.isEmpty ? nil : Array(bytes)
}

private func status(_ error: RPCError) -> Int32 {
  switch error {
  case .messageTooLarge: Int32(HYPERSWARM_ERR_MESSAGE_TOO_LARGE)
  case .queueFull: Int32(HYPERSWARM_ERR_TOO_MANY_OPERATIONS)
  default: status(DHTError(error))
  }
}
