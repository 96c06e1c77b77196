'use strict'
// Writes Tests/Vectors/protomux.json: what the JavaScript protomux sends and says in conversations between two of it,
// step by step, so that either side can be replayed. No id is an empty one: compact-encoding 3 does not take `null`. Needs `protomux` and `compact-encoding` in NODE_PATH.
//
//   node protomux-vectors.js > ../Vectors/protomux.json
const Protomux = require('protomux')
const c = require('compact-encoding')
const { EventEmitter } = require('events')

const hex = (bytes) => Buffer.from(bytes).toString('hex')
const turn = () => new Promise((resolve) => setImmediate(resolve))

class Stream extends EventEmitter {
  constructor () { super(); this.userData = null; this.destroyed = false; this.error = null; this.sent = [] }
  write (frame) { this.sent.push(hex(frame)); return true }
  pause () {}
  resume () {}
  end () {}
  destroy (error) { this.destroyed = true; this.error = error || null }
}

class Side {
  constructor (name, conversation) {
    this.name = name
    this.conversation = conversation
    this.stream = new Stream()
    this.mux = new Protomux(this.stream)
    this.channels = {}
    this.events = []
    this.inbox = []
  }

  create (key, { protocol, id, aliases = [], unique = true, types = 2, handshake = false }) {
    const say = (event) => this.events.push({ channel: key, ...event })
    const message = (type) => ({ encoding: c.raw, onmessage: (body) => say({ event: 'message', type, body: hex(body) }) })
    this.channels[key] = this.mux.createChannel({
      protocol, id: Buffer.from(id || '', 'hex'), aliases, unique, handshake: handshake ? c.raw : null,
      messages: Array.from({ length: types }, (_, type) => message(type)),
      onopen: (value) => say({ event: 'opened', ...(handshake ? { handshake: hex(value) } : {}) }),
      onclose: (isRemote) => say({ event: 'closed', isRemote })
    })
    return this.channels[key] !== null
  }

  perform (step) {
    const channel = this.channels[step.channel]
    switch (step.action) {
      case 'create': return this.create(step.channel, step)
      case 'open': return channel && channel.open(step.handshake === undefined ? undefined : Buffer.from(step.handshake, 'hex'))
      case 'send': return channel.messages[step.type].send(Buffer.from(step.body, 'hex'))
      case 'close': return channel.close()
      case 'cork': return this.mux.cork()
      case 'uncork': return this.mux.uncork()
      case 'unpair': return this.mux.unpair({ protocol: step.protocol, id: Buffer.from(step.id || '', 'hex') })
      case 'receive': return this.stream.emit('data', Buffer.from(step.frame, 'hex'))
      case 'pair':
        return this.mux.pair({ protocol: step.protocol, id: Buffer.from(step.id || '', 'hex') }, (id) => {
          this.events.push({ event: 'offered', id: id ? hex(id) : '' })
          for (const inner of step.then) this.perform(inner)
        })
    }
  }

  async step (step) {
    const result = this.perform(step)
    await turn()
    const record = { side: this.name, ...step, out: this.stream.sent, events: this.events }
    if (step.action === 'create' && result === false) record.refused = true
    if (this.stream.destroyed) record.destroyed = true
    this.other.inbox.push(...this.stream.sent)
    this.stream.sent = []
    this.events = []
    this.conversation.push(record)
  }
}

class Conversation {
  constructor () {
    this.steps = []
    this.a = new Side('a', this.steps)
    this.b = new Side('b', this.steps)
    this.a.other = this.b
    this.b.other = this.a
  }

  async deliver (side, count = Infinity) {
    while (side.inbox.length && count-- > 0) await side.step({ action: 'receive', frame: side.inbox.shift() })
  }

  async settle () {
    while (this.a.inbox.length || this.b.inbox.length) { await this.deliver(this.b); await this.deliver(this.a) }
  }
}

const text = (string) => hex(Buffer.from(string))
const cases = []
async function conversation (note, body) {
  const talk = new Conversation()
  const shorthand = (side) => ({
    create: (channel, options) => side.step({ action: 'create', channel, ...options }),
    open: (channel, handshake) => side.step({ action: 'open', channel, ...(handshake === undefined ? {} : { handshake }) }),
    send: (channel, type, body) => side.step({ action: 'send', channel, type, body }),
    close: (channel) => side.step({ action: 'close', channel }),
    cork: () => side.step({ action: 'cork' }),
    uncork: () => side.step({ action: 'uncork' }),
    pair: (protocol, id, then) => side.step({ action: 'pair', protocol, id, then }),
    unpair: (protocol, id) => side.step({ action: 'unpair', protocol, id }),
    async both (channel, options) { await this.create(channel, options); await this.open(channel, options.handshake ? text('hi ' + channel) : undefined) },
    deliver: (count) => talk.deliver(side, count)
  })
  await body(shorthand(talk.a), shorthand(talk.b), () => talk.settle())
  cases.push({ id: `pm-${cases.length + 1}`, group: 'conversation', note, steps: talk.steps })
}

async function main () {
  await conversation('both open, handshakes, ids, types, close', async (a, b, settle) => {
    const options = { protocol: 'foo', id: text('bar'), handshake: true, types: 260 }
    await a.both('x', options); await b.both('y', options); await settle()
    await a.send('x', 0, '0568656c6c6f'); await b.send('y', 1, '01'); await a.send('x', 252, ''); await b.send('y', 253, 'ff'.repeat(300))
    await settle(); await a.close('x'); await settle()
  })
  await conversation('messages before the peer has opened; the other side opens late', async (a, b, settle) => {
    await a.both('x', { protocol: 'late' }); await a.send('x', 0, '01'); await a.send('x', 1, '02')
    await b.both('y', { protocol: 'late' }); await settle()
    await b.send('y', 0, '03'); await settle(); await b.close('y'); await settle()
  })
  await conversation('not wanted: rejected, with its messages; the id is used again', async (a, b, settle) => {
    await a.both('x', { protocol: 'nope' }); await a.send('x', 0, '01'); await settle()
    await a.both('z', { protocol: 'again' }); await b.both('w', { protocol: 'again' }); await settle(); await a.send('z', 0, '02'); await settle()
  })
  await conversation('batches: several channels, control inside, answers as a batch', async (a, b, settle) => {
    await a.both('x', { protocol: 'foo' }); await b.both('y', { protocol: 'foo' })
    await a.both('v', { protocol: 'two' }); await b.both('w', { protocol: 'two' }); await settle()
    await a.cork(); await a.send('x', 0, '0178'); await a.send('x', 1, '00'); await a.both('n', { protocol: 'nope' })
    await a.send('v', 0, '0179'); await a.send('x', 0, ''); await a.uncork(); await settle()
    await b.cork(); await b.uncork(); await b.cork(); await b.send('y', 1, '07'); await b.uncork(); await settle()
    await a.cork(); await a.cork(); await a.send('x', 0, 'aa'); await a.uncork(); await a.send('v', 0, 'bb'.repeat(260)); await a.uncork(); await settle()
    await b.cork(); await b.close('y'); await b.both('y2', { protocol: 'foo' }); await b.send('y2', 0, '09'); await b.uncork()
    await a.pair('foo', null, []); await settle()
  })
  await conversation('offers: exact id, any id, and none after unpair', async (a, b, settle) => {
    const accept = (key, protocol, id) => [{ action: 'create', channel: key, protocol, id }, { action: 'open', channel: key }]
    await b.pair('p', text('one'), accept('b1', 'p', text('one'))); await b.pair('p', null, accept('b2', 'p', text('two')))
    await a.both('a1', { protocol: 'p', id: text('one') }); await a.both('a2', { protocol: 'p', id: text('two') })
    await a.send('a2', 0, '11'); await settle(); await a.both('a3', { protocol: 'p', id: text('three') }); await settle()
    await b.unpair('p', null); await a.both('a4', { protocol: 'p', id: text('two2') }); await settle()
  })
  await conversation('aliases: each side knows the name that the other one uses', async (a, b, settle) => {
    await b.both('y', { protocol: 'app/2', aliases: ['app/1'] }); await a.both('x', { protocol: 'app/1', aliases: ['app/2', 'app/3'] })
    await settle(); await a.send('x', 0, '01'); await b.send('y', 0, '02'); await settle(); await a.close('x'); await settle()
    await a.both('v', { protocol: 'app/3', aliases: ['app/1'] }); await settle(); await a.both('w', { protocol: 'app/1' })
    await b.both('u', { protocol: 'app/1' }); await settle(); await b.send('u', 1, '07'); await settle()
  })
  await conversation('ids: grow by one, the one freed last is used first', async (a, b, settle) => {
    for (let i = 1; i <= 5; i++) { await a.both('a' + i, { protocol: 'c' + i }); await b.both('b' + i, { protocol: 'c' + i }) }
    await settle(); await a.close('a2'); await b.close('b4'); await settle(); await a.close('a3'); await settle()
    for (let i = 6; i <= 9; i++) { await b.both('b' + i, { protocol: 'c' + i }); await a.both('a' + i, { protocol: 'c' + i }) }
    await settle(); await a.send('a6', 0, '06'); await b.send('b9', 0, '09'); await settle()
  })
  await conversation('closed before the peer answers; then again', async (a, b, settle) => {
    await a.both('x', { protocol: 'foo' }); await a.close('x'); await b.both('y', { protocol: 'foo' }); await settle()
    await a.both('x2', { protocol: 'foo' }); await b.both('y2', { protocol: 'foo' }); await settle(); await b.send('y2', 0, '05'); await settle()
  })
  await conversation('both close at once; messages on their way are dropped', async (a, b, settle) => {
    await a.both('x', { protocol: 'foo' }); await b.both('y', { protocol: 'foo' }); await settle()
    await a.send('x', 0, '01'); await a.close('x'); await b.send('y', 0, '02'); await b.close('y'); await settle()
    await a.both('x2', { protocol: 'foo' }); await b.both('y2', { protocol: 'foo' }); await settle(); await a.send('x2', 1, '03'); await settle()
  })
  await conversation('the same name twice: first in, first out', async (a, b, settle) => {
    await a.both('x1', { protocol: 'foo', unique: false }); await a.both('x2', { protocol: 'foo', unique: false })
    await b.both('y1', { protocol: 'foo', unique: false }); await settle()
    await a.send('x1', 0, '01'); await a.send('x2', 0, '02'); await settle()
  })
  await conversation('a second channel of an open name is refused', async (a, b, settle) => {
    await a.both('x', { protocol: 'foo', aliases: ['bar'] }); await a.create('x2', { protocol: 'foo' }); await a.create('x3', { protocol: 'bar' })
    await a.both('x4', { protocol: 'foo', id: text('other') }); await settle()
  })
  await conversation('more channels than one byte counts', async (a, b, settle) => {
    for (let i = 0; i < 256; i++) { await a.both('a' + i, { protocol: 'm', id: hex([i, 1]) }); await b.both('b' + i, { protocol: 'm', id: hex([i, 1]) }) }
    await settle(); await a.send('a255', 0, '01'); await b.send('b252', 1, '02'); await settle(); await a.close('a253'); await settle()
  })
  const foreign = [
    ['', 'empty'], ['00', 'no type'], ['01', 'no type'], ['0009', 'unknown control'], ['000902', 'unknown control'], ['000101', 'no name'],
    ['0001020178' + '00', 'skips an id'], ['0001010178' + '05aa', 'id is cut'], ['000201', 'rejects nothing'], ['000301', 'closes nothing'],
    ['000300', 'closes the control session'], ['0100aa', 'no such channel'], ['fd0f0000', 'no such channel'], ['0000', 'no session'],
    ['000001', 'an empty batch'], ['00000100', 'no session to change to'], ['0000010009', 'changes and ends'], ['0001fe', 'an integer is cut'],
    ['0001010178' + '00', 'opens'], ['000000' + '0401' + '01' + '0178', 'an item is short of an id'],
    ['000000' + '0501' + '01' + '0178' + '00', 'opens in a batch'], ['000000' + '020201', 'rejects nothing in a batch'],
    ['00ff00000000000000100100', 'a large control type']
  ]
  for (const [frame, note] of foreign) {
    const talk = new Conversation()
    talk.b.inbox.push(frame)
    await talk.deliver(talk.b)
    cases.push({ id: `pm-${cases.length + 1}`, group: 'frame', note, steps: talk.steps })
  }
  const { version } = require('protomux/package.json')
  console.log('{')
  console.log(`"about": "Conversations between two multiplexers of protomux ${version}, step by step, and single frames for one that has nothing open.",`)
  console.log('"cases": [\n' + cases.map((entry) => JSON.stringify(entry)).join(',\n') + '\n]\n}')
}
main()
