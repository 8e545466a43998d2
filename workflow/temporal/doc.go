// Package esignd is a plugin for the Temporal Go SDK, for its clients and its workers: activities get live tokens by the
// id of a grant, and workflows hear of it when the grant ends and wait until its owner has connected again.
//
// Give the [Plugin] that [New] makes to client.Options.Plugins, in each program that runs workers; workers that are made
// of this client have it too.
//
// What it guarantees:
//
//   - No token and no connect URL that it gave to this process gets into a workflow's history by way of this client: not in
//     arguments, results, heartbeats and memos, nor in the text, the stack or the details of a failure. A payload that
//     holds one is refused with an error, a failure is redacted. They are found in clear, in escapes, in base64 and in
//     hexadecimal; not when they were compressed, cut or encrypted before.
//   - An activity whose error is one of esignd's fails with an application error whose type is the code behind "esignd.".
//     What a retry cannot mend, such as a grant whose owner has to connect again, is not retried. What esignd wants to be
//     asked again after a pause is retried after that pause.
//   - [AwaitGrant] and [WatchGrant] survive workers. They hold no worker's slot while they wait: what they wait for is
//     a signal, which is in Temporal's store before esignd's event counts as heard. A signal may come twice, never not.
//     What is missed all the same, because no worker ran for the seven days that events are kept, is found by a look at the
//     grant every six hours.
//
// It makes one short workflow for each grant that workflows wait for or watch, of the type esignd.grant, on the task queue of
// the first workflow that did so, and uses the activities esignd.look and esignd.gone. It ends within a day
// of the last workflow that watched.
package esignd
