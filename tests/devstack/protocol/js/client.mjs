// supabase-js on strings: a command a line on stdin, what happens a line on stdout, both JSON.
// The arguments are the server's URL, the key, and the protocol's version ("" is the library's own).
import { createClient } from "@supabase/supabase-js";
import { createInterface } from "node:readline";

const [url, key, vsn] = process.argv.slice(2);
let token = key;
const client = createClient(url, key, {
  // A token given to setAuth alone is forgotten at the next look at this function.
  accessToken: async () => token,
  realtime: vsn ? { vsn } : {},
});
const channels = new Map();

const say = (on, more) => console.log(JSON.stringify({ on, ...more }));
const plain = (value) => (value instanceof ArrayBuffer ? { bytes: [...new Uint8Array(value)] } : value);

const commands = {
  channel({ id, topic, config, changes = [], broadcasts = [], presence = false }) {
    const channel = client.channel(topic, { config });
    for (const change of changes)
      channel.on("postgres_changes", change, (payload) => say("change", { id, payload }));
    for (const event of broadcasts)
      channel.on("broadcast", { event }, ({ event, payload, meta }) =>
        say("broadcast", { id, event, payload: plain(payload), meta }),
      );
    if (presence)
      channel.on("presence", { event: "sync" }, () => say("presence", { id, state: channel.presenceState() }));
    channel.on("system", {}, (payload) => say("system", { id, payload }));
    channels.set(id, channel);
    channel.subscribe((status, error) => say("status", { id, status, error: error && String(error.message) }));
  },
  async send({ id, event, payload, bytes }) {
    const body = bytes ? new Uint8Array(bytes).buffer : payload;
    const result = await channels.get(id).send({ type: "broadcast", event, payload: body });
    say("sent", { id, result });
  },
  async httpSend({ id, event, payload }) {
    try {
      say("posted", { id, result: await channels.get(id).httpSend(event, payload) });
    } catch (error) {
      say("posted", { id, error: error.message });
    }
  },
  async track({ id, payload }) {
    say("tracked", { id, result: await channels.get(id).track(payload) });
  },
  async setAuth(command) {
    token = command.token;
    await client.realtime.setAuth();
    say("auth", {});
  },
  async remove({ id }) {
    say("removed", { id, result: await client.removeChannel(channels.get(id)) });
  },
};

say("ready", { vsn: client.realtime.vsn ?? null });
for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...more } = JSON.parse(line);
  // Not awaited: an operation may wait for what a later command brings about.
  commands[op](more);
}
await client.removeAllChannels();
process.exit(0);
