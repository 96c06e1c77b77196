-- Wireshark dissector for UDX packets and for the DHT messages that share their UDP ports.
--
-- Install: copy or link it into the personal Lua plugin folder (Help > About > Folders), or
--   tshark -X lua_script:Scripts/wireshark/udx.lua -r capture.pcap
-- Both protocols are found by heuristics on any UDP port: UDX by its first bytes FF 01, DHT messages by 03 or 13
-- and a body that decodes to its last byte. "Decode As" (UDP port, UDX or HDHT) forces one of them.
--
-- Filters: udx.type.data == 1, udx.id == 7, udx.sack.start, udx.seq, hdht.command, hdht.tid ...

-- ---------------------------------------------------------------- UDX

local udx = Proto("udx", "UDX transport")

local yes_no = { [0] = "no", [1] = "yes" }

local f = {
  magic = ProtoField.uint8("udx.magic", "Magic", base.HEX),
  version = ProtoField.uint8("udx.version", "Version", base.DEC),
  type = ProtoField.uint8("udx.type", "Type", base.HEX),
  data = ProtoField.uint8("udx.type.data", "DATA", base.DEC, yes_no, 0x01),
  fin = ProtoField.uint8("udx.type.end", "END", base.DEC, yes_no, 0x02),
  sack = ProtoField.uint8("udx.type.sack", "SACK", base.DEC, yes_no, 0x04),
  message = ProtoField.uint8("udx.type.message", "MESSAGE", base.DEC, yes_no, 0x08),
  destroy = ProtoField.uint8("udx.type.destroy", "DESTROY", base.DEC, yes_no, 0x10),
  heartbeat = ProtoField.uint8("udx.type.heartbeat", "HEARTBEAT", base.DEC, yes_no, 0x20),
  unassigned = ProtoField.uint8("udx.type.unassigned", "Unassigned", base.HEX, nil, 0xc0),
  data_offset = ProtoField.uint8("udx.data_offset", "Data offset", base.DEC),
  id = ProtoField.uint32("udx.id", "Stream id (of the receiver)", base.DEC),
  window = ProtoField.uint32("udx.window", "Receive window (bytes)", base.DEC),
  seq = ProtoField.uint32("udx.seq", "Sequence number (packets)", base.DEC),
  ack = ProtoField.uint32("udx.ack", "Next sequence number expected", base.DEC),
  padding = ProtoField.bytes("udx.padding", "Padding (MTU probe)"),
  block = ProtoField.none("udx.sack.block", "Received"),
  block_start = ProtoField.uint32("udx.sack.start", "First", base.DEC),
  block_end = ProtoField.uint32("udx.sack.end", "After the last", base.DEC),
  block_count = ProtoField.uint32("udx.sack.count", "Blocks", base.DEC),
  payload = ProtoField.bytes("udx.payload", "Payload"),
  payload_length = ProtoField.uint32("udx.payload_length", "Payload length", base.DEC),
}
udx.fields = f

local e = {
  offset = ProtoExpert.new("udx.error.data_offset", "Data offset beyond the end: receivers drop this packet",
    expert.group.MALFORMED, expert.severity.ERROR),
  block = ProtoExpert.new("udx.error.sack_block", "Empty or reversed block: receivers skip it",
    expert.group.MALFORMED, expert.severity.WARN),
  before_ack = ProtoExpert.new("udx.warning.sack_before_ack", "Block begins before the packet's ack",
    expert.group.PROTOCOL, expert.severity.WARN),
  remainder = ProtoExpert.new("udx.warning.sack_remainder", "SACK area is not a multiple of 8 bytes",
    expert.group.PROTOCOL, expert.severity.WARN),
  unassigned = ProtoExpert.new("udx.warning.unassigned", "Unassigned type bits are set",
    expert.group.PROTOCOL, expert.severity.WARN),
  destroy = ProtoExpert.new("udx.note.destroy", "The stream was destroyed", expert.group.SEQUENCE, expert.severity.NOTE),
  zero_window = ProtoExpert.new("udx.note.zero_window", "Zero window", expert.group.SEQUENCE, expert.severity.NOTE),
}
udx.experts = { e.offset, e.block, e.before_ack, e.remainder, e.unassigned, e.destroy, e.zero_window }

local HEADER = 20
local names = {
  { 0x20, "HEARTBEAT" }, { 0x01, "DATA" }, { 0x02, "END" }, { 0x04, "SACK" }, { 0x08, "MESSAGE" }, { 0x10, "DESTROY" },
}

local function bit_set(value, mask)
  return math.floor(value / mask) % 2 == 1
end

-- Distance a - b of two sequence numbers, signed.
local function distance(a, b)
  local d = (a - b) % 0x100000000
  if d >= 0x80000000 then d = d - 0x100000000 end
  return d
end

local function type_name(value)
  local list = {}
  for _, entry in ipairs(names) do
    if bit_set(value, entry[1]) then list[#list + 1] = entry[2] end
  end
  if #list == 0 then return "ACK" end
  return table.concat(list, "+")
end

function udx.dissector(buffer, pinfo, root)
  local length = buffer:len()
  if length < HEADER or buffer(0, 1):uint() ~= 0xff or buffer(1, 1):uint() ~= 1 then return 0 end
  local kind = buffer(2, 1):uint()
  local offset = buffer(3, 1):uint()
  local seq = buffer(12, 4):le_uint()
  local ack = buffer(16, 4):le_uint()
  local body = length - HEADER
  local name = type_name(kind)

  pinfo.cols.protocol = "UDX"
  local tree = root:add(udx, buffer(), "UDX " .. name .. ", id " .. buffer(4, 4):le_uint() .. ", seq " .. seq .. ", ack " .. ack)
  tree:add(f.magic, buffer(0, 1))
  tree:add(f.version, buffer(1, 1))
  local bits = tree:add(f.type, buffer(2, 1)):append_text(" (" .. name .. ")")
  for _, field in ipairs({ f.data, f.fin, f.sack, f.message, f.destroy, f.heartbeat, f.unassigned }) do
    bits:add(field, buffer(2, 1))
  end
  if kind >= 0x40 then bits:add_proto_expert_info(e.unassigned) end
  local offset_item = tree:add(f.data_offset, buffer(3, 1))
  tree:add_le(f.id, buffer(4, 4))
  local window_item = tree:add_le(f.window, buffer(8, 4))
  tree:add_le(f.seq, buffer(12, 4))
  tree:add_le(f.ack, buffer(16, 4))
  if buffer(8, 4):le_uint() == 0 then window_item:add_proto_expert_info(e.zero_window) end
  if bit_set(kind, 0x10) then tree:add_proto_expert_info(e.destroy) end

  local info = name .. " id=" .. buffer(4, 4):le_uint() .. " seq=" .. seq .. " ack=" .. ack .. " win=" .. buffer(8, 4):le_uint()

  if offset > body then
    offset_item:add_proto_expert_info(e.offset)
    pinfo.cols.info = info .. " [bad data offset]"
    return length
  end

  local payload = HEADER + offset
  if bit_set(kind, 0x04) then
    -- the area runs to the payload, or to the end if there is none
    local area = (offset > 0 and offset < body) and offset or body
    local count = math.floor(area / 8)
    tree:add(f.block_count, count):set_generated()
    local ranges = {}
    for i = 0, count - 1 do
      local at = HEADER + 8 * i
      local first, last = buffer(at, 4):le_uint(), buffer(at + 4, 4):le_uint()
      local block = tree:add(f.block, buffer(at, 8)):append_text(": " .. first .. " to before " .. last)
      block:add_le(f.block_start, buffer(at, 4))
      block:add_le(f.block_end, buffer(at + 4, 4))
      if distance(first, last) >= 0 then block:add_proto_expert_info(e.block) end
      if distance(first, ack) < 0 then block:add_proto_expert_info(e.before_ack) end
      ranges[#ranges + 1] = "[" .. first .. "," .. last .. ")"
    end
    if area % 8 ~= 0 then tree:add_proto_expert_info(e.remainder) end
    info = info .. " sack=" .. table.concat(ranges, "")
    payload = HEADER + area
  elseif offset > 0 then
    tree:add(f.padding, buffer(HEADER, offset))
    info = info .. " pad=" .. offset
  end

  local rest = length - payload
  if bit_set(kind, 0x01) or bit_set(kind, 0x02) or bit_set(kind, 0x08) then
    tree:add(f.payload_length, rest):set_generated()
    info = info .. " len=" .. rest
  end
  if rest > 0 then tree:add(f.payload, buffer(payload, rest)) end
  pinfo.cols.info = info
  return length
end

udx:register_heuristic("udp", function(buffer, pinfo, root)
  if buffer:len() < HEADER or buffer(0, 1):uint() ~= 0xff or buffer(1, 1):uint() ~= 1 then return false end
  return udx.dissector(buffer, pinfo, root) > 0
end)

DissectorTable.get("udp.port"):add_for_decode_as(udx)

-- ---------------------------------------------------------------- DHT messages

local dht = Proto("hdht", "HyperDHT message")

local internal_commands = { [0] = "PING", "PING_NAT", "FIND_NODE", "DOWN_HINT", "DELAYED_PING" }
local commands = {
  [0] = "PEER_HANDSHAKE", "PEER_HOLEPUNCH", "FIND_PEER", "LOOKUP", "ANNOUNCE", "UNANNOUNCE", "MUTABLE_PUT", "MUTABLE_GET",
  "IMMUTABLE_PUT", "IMMUTABLE_GET", "PLUGIN",
}
local errors = { [0] = "OK", "UNKNOWN_COMMAND", "INVALID_TOKEN" }

local d = {
  type = ProtoField.uint8("hdht.type", "Type", base.HEX, { [0x03] = "request", [0x13] = "response" }),
  flags = ProtoField.uint8("hdht.flags", "Flags", base.HEX),
  flag_id = ProtoField.uint8("hdht.flags.id", "Id", base.DEC, yes_no, 0x01),
  flag_token = ProtoField.uint8("hdht.flags.token", "Token", base.DEC, yes_no, 0x02),
  flag_internal = ProtoField.uint8("hdht.flags.internal", "Internal command", base.DEC, yes_no, 0x04),
  flag_target = ProtoField.uint8("hdht.flags.target", "Target", base.DEC, yes_no, 0x08),
  flag_closer = ProtoField.uint8("hdht.flags.closer_nodes", "Closer nodes", base.DEC, yes_no, 0x04),
  flag_error = ProtoField.uint8("hdht.flags.error", "Error", base.DEC, yes_no, 0x08),
  flag_value = ProtoField.uint8("hdht.flags.value", "Value", base.DEC, yes_no, 0x10),
  tid = ProtoField.uint16("hdht.tid", "Transaction id", base.DEC),
  to_host = ProtoField.ipv4("hdht.to.host", "To"),
  to_port = ProtoField.uint16("hdht.to.port", "To port", base.DEC),
  id = ProtoField.bytes("hdht.id", "Node id"),
  token = ProtoField.bytes("hdht.token", "Token"),
  command = ProtoField.uint32("hdht.command", "Command", base.DEC),
  target = ProtoField.bytes("hdht.target", "Target"),
  value = ProtoField.bytes("hdht.value", "Value"),
  error = ProtoField.uint32("hdht.error", "Error", base.DEC),
  node = ProtoField.none("hdht.node", "Node"),
  node_host = ProtoField.ipv4("hdht.node.host", "Host"),
  node_port = ProtoField.uint16("hdht.node.port", "Port", base.DEC),
  trailing = ProtoField.bytes("hdht.trailing", "Bytes behind the message"),
  count = ProtoField.uint32("hdht.node.count", "Closer nodes", base.DEC),
}
dht.fields = d

-- The variable-length integer at `at`: value and offset behind it, nil if it is not all there or above 32 bits.
local function read_uint(buffer, at)
  if at >= buffer:len() then return nil end
  local first = buffer(at, 1):uint()
  if first < 0xfd then return first, at + 1 end
  local size = first == 0xfd and 2 or first == 0xfe and 4 or 8
  if at + 1 + size > buffer:len() or size == 8 then return nil end
  return buffer(at + 1, size):le_uint(), at + 1 + size
end

-- Walks through a message; `visit(field, offset, length, value)` is called for each part. Returns where the message
-- ends, nil if it does not decode. Receivers ignore what follows.
local function walk(buffer, visit)
  local length = buffer:len()
  if length < 10 then return nil end
  local kind = buffer(0, 1):uint()
  local flags = buffer(1, 1):uint()
  if (kind ~= 0x03 and kind ~= 0x13) or flags >= 0x20 then return nil end
  local at = 10
  local function fixed(field, size)
    if at + size > length then return false end
    visit(field, at, size)
    at = at + size
    return true
  end
  local function number(field)
    local value, after = read_uint(buffer, at)
    if value == nil then return nil end
    visit(field, at, after - at, value)
    at = after
    return value
  end
  if bit_set(flags, 0x01) and not fixed("id", 32) then return nil end
  if bit_set(flags, 0x02) and not fixed("token", 32) then return nil end
  if kind == 0x03 then
    if number("command") == nil then return nil end
    if bit_set(flags, 0x08) and not fixed("target", 32) then return nil end
  else
    if bit_set(flags, 0x04) then
      local count = number("count")
      if count == nil or at + 6 * count > length then return nil end
      for _ = 1, count do fixed("node", 6) end
    end
    if bit_set(flags, 0x08) and number("error") == nil then return nil end
  end
  if bit_set(flags, 0x10) then
    local size, after = read_uint(buffer, at)
    if size == nil or after + size > length then return nil end
    visit("value", after, size)
    at = after + size
  end
  return at
end

function dht.dissector(buffer, pinfo, root)
  local message_end = walk(buffer, function() end)
  if message_end == nil then return 0 end
  local is_request = buffer(0, 1):uint() == 0x03
  local flags = buffer(1, 1):uint()
  pinfo.cols.protocol = "HDHT"
  local tree = root:add(dht, buffer())
  tree:add(d.type, buffer(0, 1))
  local bits = tree:add(d.flags, buffer(1, 1))
  local list = is_request and { d.flag_id, d.flag_token, d.flag_internal, d.flag_target, d.flag_value }
    or { d.flag_id, d.flag_token, d.flag_closer, d.flag_error, d.flag_value }
  for _, field in ipairs(list) do bits:add(field, buffer(1, 1)) end
  tree:add_le(d.tid, buffer(2, 2))
  tree:add(d.to_host, buffer(4, 4))
  tree:add_le(d.to_port, buffer(8, 2))

  local tid = buffer(2, 2):le_uint()
  local title = is_request and "request" or "response"
  local nodes
  walk(buffer, function(field, at, size, value)
    if field == "command" then
      local name = (bit_set(flags, 0x04) and internal_commands or commands)[value] or tostring(value)
      tree:add(d.command, buffer(at, size), value):append_text(" (" .. name .. ")")
      title = name .. " " .. title
    elseif field == "count" then
      nodes = tree:add(d.count, buffer(at, size), value)
      title = title .. ", " .. value .. " nodes"
    elseif field == "error" then
      tree:add(d.error, buffer(at, size), value):append_text(" (" .. (errors[value] or "application") .. ")")
      title = title .. ", error " .. value
    elseif field == "node" then
      local port = buffer(at + 4, 2):le_uint()
      local node = nodes:add(d.node, buffer(at, 6)):append_text(": " .. tostring(buffer(at, 4):ipv4()) .. ":" .. port)
      node:add(d.node_host, buffer(at, 4))
      node:add_le(d.node_port, buffer(at + 4, 2))
    elseif field == "value" then
      if size > 0 then tree:add(d.value, buffer(at, size)) end
      title = title .. ", value " .. size .. " bytes"
    else
      tree:add(d[field], buffer(at, size))
    end
  end)
  if message_end < buffer:len() then tree:add(d.trailing, buffer(message_end)) end
  tree:append_text(": " .. title .. ", tid " .. tid)
  pinfo.cols.info = title .. " tid=" .. tid
  return buffer:len()
end

dht:register_heuristic("udp", function(buffer, pinfo, root)
  if walk(buffer, function() end) ~= buffer:len() then return false end
  return dht.dissector(buffer, pinfo, root) > 0
end)

DissectorTable.get("udp.port"):add_for_decode_as(dht)
