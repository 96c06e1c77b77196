import Foundation
import Synchronization

/// Lines that are typed on a terminal, edited and with a history, by libedit where it is installed; what is printed
/// meanwhile appears above the line. Nothing is linked: without the library the terminal's own editing is left.
///
/// One at a time. The library has one state for the process and no locks: all calls are made under `terminal`.
final class LineEditor: Sendable {
  /// Lines that wait to be taken; further input waits in the terminal.
  private static let waitingLines = 64
  private static let remembered: Int32 = 500

  private struct Library: Sendable {
    let install: @convention(c) (UnsafePointer<CChar>, (@convention(c) (UnsafeMutablePointer<CChar>?) -> Void)?) -> Void
    let readCharacter: @convention(c) () -> Void
    let remove: @convention(c) () -> Void
    let remember: @convention(c) (UnsafePointer<CChar>) -> Int32
    let limitHistory: @convention(c) (Int32) -> Void
    let draw: @convention(c) () -> Int32

    static func load() -> Library? {
      let names = ["libedit.so.2", "libedit.so.0", "libedit.3.dylib"]
      guard let handle = names.lazy.compactMap({ dlopen($0, RTLD_NOW) }).first else { return nil }
      func symbol<T>(_ name: String, _ type: T.Type) -> T? { dlsym(handle, name).map { unsafeBitCast($0, to: type) } }
      guard
        let install = symbol(
          "rl_callback_handler_install",
          (@convention(c) (UnsafePointer<CChar>, (@convention(c) (UnsafeMutablePointer<CChar>?) -> Void)?) -> Void).self
        ),
        let read = symbol("rl_callback_read_char", (@convention(c) () -> Void).self),
        let remove = symbol("rl_callback_handler_remove", (@convention(c) () -> Void).self),
        let remember = symbol("add_history", (@convention(c) (UnsafePointer<CChar>) -> Int32).self),
        let limit = symbol("stifle_history", (@convention(c) (Int32) -> Void).self),
        let draw = symbol("rl_forced_update_display", (@convention(c) () -> Int32).self),
        let catchesSignals = dlsym(handle, "rl_catch_signals")
      else { return nil }
      // It would send each signal on to the whole process group.
      catchesSignals.assumingMemoryBound(to: Int32.self).pointee = 0
      return Library(
        install: install, readCharacter: read, remove: remove, remember: remember, limitHistory: limit, draw: draw)
    }
  }

  private struct State {
    var lines: [String] = []
    var isEnded = false
    var isClosed = false
    /// A line has just been typed.
    var hasLine = false
    var reader: CheckedContinuation<Void, Never>?

    mutating func takeEnd() -> Bool {
      defer { hasLine = false }
      return hasLine
    }
  }

  /// The one that there is.
  private static let current = Mutex<LineEditor?>(nil)

  private let library: Library
  private let prompt: String
  /// Whether the library has the terminal.
  private let terminal = Mutex(true)
  private let state = Mutex(State())

  /// `nil` where input or output is no terminal that can be steered, or there is no library.
  static func open(prompt: String) -> LineEditor? {
    guard !Console.isJSON, isatty(0) == 1, isatty(1) == 1 else { return nil }
    guard let kind = ProcessInfo.processInfo.environment["TERM"], !["", "dumb"].contains(kind) else { return nil }
    guard let library = Library.load() else { return nil }
    // Letters of more than a byte.
    setlocale(LC_CTYPE, "")
    if String(cString: nl_langinfo(Int32(CODESET))) != "UTF-8" { setlocale(LC_CTYPE, "C.UTF-8") }
    let editor = LineEditor(library, prompt)
    current.withLock { $0 = editor }
    editor.terminal.withLock { _ in
      library.limitHistory(remembered)
      editor.begin()
    }
    Task { await editor.run() }
    return editor
  }

  private init(_ library: Library, _ prompt: String) {
    self.library = library
    self.prompt = prompt
  }

  private func begin() { library.install(prompt) { line in LineEditor.typed(line) } }

  /// Prints by `body` above the line that is being typed, if one is.
  static func aside<R>(_ body: () -> R) -> R {
    guard let editor = current.withLock({ $0 }) else { return body() }
    return editor.terminal.withLock { isOurs in
      guard isOurs else { return body() }
      _ = writeAll(Array("\r\u{1b}[K".utf8), to: 1)
      defer { _ = editor.library.draw() }
      return body()
    }
  }

  /// The next line; `nil` at the end of the input. One reader.
  func next() async -> String? {
    while true {
      let found = state.withLock { state -> String?? in
        if !state.lines.isEmpty { return .some(state.lines.removeFirst()) }
        return state.isEnded || state.isClosed ? .some(nil) : nil
      }
      if let found { return found }
      await withCheckedContinuation { continuation in
        let isDue = state.withLock { state in
          guard state.lines.isEmpty, !state.isEnded, !state.isClosed else { return true }
          state.reader = continuation
          return false
        }
        if isDue { continuation.resume() }
      }
    }
  }

  /// Gives the terminal back as it was. Idempotent.
  func close() {
    release()
    wake { $0.isClosed = true }
    LineEditor.current.withLock { if $0 === self { $0 = nil } }
  }

  private func release() {
    terminal.withLock { isOurs in
      guard isOurs else { return }
      isOurs = false
      library.remove()
      _ = writeAll(Array("\r\u{1b}[K".utf8), to: 1)
    }
  }

  private func wake(_ change: (inout State) -> Void) {
    let reader = state.withLock { state in
      change(&state)
      defer { state.reader = nil }
      return state.reader
    }
    reader?.resume()
  }

  private func run() async {
    while !state.withLock({ $0.isEnded || $0.isClosed }) {
      guard state.withLock({ $0.lines.count < LineEditor.waitingLines }) else {
        try? await Task.sleep(for: .milliseconds(50))
        continue
      }
      guard await Poller.shared.wait(0, for: Int32(POLLIN), seconds: 1) else { continue }
      terminal.withLock { isOurs in
        guard isOurs else { return }
        library.readCharacter()
        // It leaves the terminal with each line.
        if state.withLock({ $0.takeEnd() }) { begin() }
      }
    }
    // The library takes the terminal again when its call returns: not earlier than here.
    release()
  }

  /// From `readCharacter`, at the end of a line and of the input.
  private static func typed(_ line: UnsafeMutablePointer<CChar>?) {
    guard let editor = current.withLock({ $0 }) else { return free(line) }
    guard let line else { return editor.wake { $0.isEnded = true } }
    let text = String(cString: line)
    if !text.isEmpty { _ = editor.library.remember(line) }
    free(line)
    editor.wake { state in
      state.lines.append(text)
      state.hasLine = true
    }
  }
}

/// Lines for a command: of the editor on a terminal, else as they come.
struct TypedLines: AsyncSequence {
  let editor: LineEditor?

  func makeAsyncIterator() -> Iterator { Iterator(editor: editor) }

  struct Iterator: AsyncIteratorProtocol {
    let editor: LineEditor?
    private var plain = InputLines(input: StandardInput()).makeAsyncIterator()

    init(editor: LineEditor?) { self.editor = editor }

    mutating func next() async -> String? {
      if let editor { await editor.next() } else { await plain.next() }
    }
  }
}
