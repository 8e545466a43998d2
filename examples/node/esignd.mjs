// esignd over NATS: live tokens by request and reply, and the events of their life.
//
// Nothing here keeps a token: ask each time, which costs a round trip on the local network, and never use one that is
// about to end. docs/contract.md has every subject, field and code.

import { DeliverPolicy, jetstream } from "@nats-io/jetstream";

// EsigndError is an error that esignd answers. Decide by code and reason; the message is for people.
export class EsigndError extends Error {
  constructor(body) {
    super(body.error_description);
    this.code = body.error;
    this.reason = body.reason;
    this.retryAfter = body.retry_after; // seconds
    this.connectURL = body.connect_url; // where the account's owner connects again
  }
}

// Esignd asks as one tenant, over a NATS connection that the caller opens and closes.
export class Esignd {
  #nc;
  #tenant;
  #prefix;

  constructor(nc, { tenant = "default", prefix = "esign" } = {}) {
    this.#nc = nc;
    this.#tenant = tenant;
    this.#prefix = prefix;
  }

  // token answers a token that lives for minTTL more seconds. who is {client, account} or {grant}.
  token(who, minTTL) {
    return this.#ask("token.get", minTTL === undefined ? who : { ...who, min_ttl: minTTL });
  }

  // report says that the vendor refused the token of a generation, and answers a better one.
  report(who, generation) {
    return this.#ask("token.report", { ...who, generation });
  }

  // authorize makes the grant where there is none, and answers where the account's owner connects.
  authorize(client, account) {
    return this.#ask("grant.authorize", { client, account });
  }

  // fetch calls the vendor's API with a live token. A token that the vendor refuses is reported, and the call made once more.
  async fetch(who, path, init = {}) {
    let token = await this.token(who);
    let response = await call(token, path, init);
    if (response.status === 401) {
      token = await this.report(who, token.generation);
      response = await call(token, path, init);
    }
    return response;
  }

  // events yields what happens from now on to a grant; break off to end it. Each comes at least once, in order.
  async events(grant) {
    const consumers = jetstream(this.#nc).consumers;
    const consumer = await consumers.get("ESIGN_EVENTS", {
      filter_subjects: `${this.#prefix}.event.${this.#tenant}.*.*.*.${grant}`,
      deliver_policy: DeliverPolicy.New,
    });
    const messages = await consumer.consume();
    return (async function* () {
      const seen = new Set();
      for await (const m of messages) {
        const event = m.json();
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        yield event;
      }
    })();
  }

  async #ask(endpoint, request) {
    const subject = `${this.#prefix}.api.${this.#tenant}.${endpoint}`;
    const answer = await this.#nc.request(subject, JSON.stringify(request), { timeout: 35_000 });
    if (answer.headers?.has("Nats-Service-Error-Code")) throw new EsigndError(answer.json());
    return answer.json();
  }
}

function call(token, path, init) {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `${token.token_type} ${token.access_token}`);
  return fetch(token.api_base_url + path, { ...init, headers });
}
