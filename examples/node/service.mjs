// A service that works for one account at a vendor: it calls the vendor's API, again whenever there is a new token, and
// when the account has to be connected it says where, waits, and goes on.
//
//   node service.mjs <client> <account> <path of the vendor's API>

import { setTimeout } from "node:timers/promises";

import { connect } from "@nats-io/transport-node";

import { Esignd, EsigndError } from "./esignd.mjs";

const [client, account, path] = process.argv.slice(2);
if (!path) {
  console.error("usage: node service.mjs <client> <account> <path of the vendor's API>");
  process.exit(2);
}
const who = { client, account };

const nc = await connect({ servers: process.env.ESIGND_SERVER ?? "nats://127.0.0.1:4222" });
const esignd = new Esignd(nc);

// The grant's id, and a link for its owner where one is needed.
const { grant, connect_url: link } = await esignd.authorize(client, account);
// From here on nothing that happens to it is missed.
const events = await esignd.events(grant);

await work(link);
for await (const { type } of events) {
  if (type === "token.issued") await work();
  if (type === "token.revoked" || type === "grant.reauthorization_required") await work();
}

async function work(link) {
  for (;;) {
    try {
      const response = await esignd.fetch(who, path);
      console.log(`called the vendor: ${response.status}`);
      return;
    } catch (error) {
      if (!(error instanceof EsigndError)) throw error;
      if (error.code === "reauthorization_required") {
        console.log(`connect at ${error.connectURL ?? link}`);
        return; // token.issued tells when that was done
      }
      if (error.code !== "temporarily_unavailable") throw error;
      await setTimeout((error.retryAfter ?? 1) * 1000);
    }
  }
}
