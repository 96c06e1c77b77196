import HyperEncoding

/// The value of PLUGIN (hyperdht.md 2.9).
package struct PluginRequest: Hashable, Sendable {
  package var plugin: String
  package var version: UInt64
  package var command: UInt64
  package var value: [UInt8]?

  package init(plugin: String, version: UInt64, command: UInt64, value: [UInt8]? = nil) {
    self.plugin = plugin
    self.version = version
    self.command = command
    self.value = value
  }

  private static let valueFlag: UInt64 = 0x01
}

extension PluginRequest: CompactEncodable, CompactDecodable {
  package func encode(into writer: inout CompactWriter) {
    writer.string(plugin)
    writer.uint(version)
    writer.uint(command)
    writer.uint(value == nil ? 0 : Self.valueFlag)
    if let value { writer.buffer(value) }
  }

  package init(from reader: inout CompactReader) throws(CompactError) {
    plugin = try reader.string()
    version = try reader.uint()
    command = try reader.uint()
    value = try reader.uint() & Self.valueFlag == 0 ? nil : try reader.buffer()
  }
}
