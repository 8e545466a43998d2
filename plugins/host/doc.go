// Package host starts, verifies and supervises plugins: one process for each vendor, which is a [core.Adapter] to the
// rest of the program. [Set] is all plugins of a folder, [Plugin] is one.
//
// What it guarantees:
//
//   - No plugin can bring the program down or hold it up. Its output is read and bounded, whatever it is, and slowly where
//     it is a flood; a call ends at its deadline, a start after [Limits.Start], a stop after [Limits.Drain] and [Limits.Kill] and two seconds more.
//
//   - A process that ends or hangs is replaced: at once after the first time, then after a growing delay. Meanwhile calls
//     fail at once with the outcome [core.NotSent]; they do not wait.
//
//   - The outcome of a failed call is [core.NotSent] only where the plugin was not called. A call that was in flight when
//     the process ended is [core.Unknown].
//
//   - When Token or Revoke returns because its context ended, the process that was called does not run any more, and
//     whatever it started in its process group neither. What it was about to send is not sent later. Other calls in
//     flight in it end too, with an unknown outcome.
//
//   - A plugin gets no variable of this process's environment but an allow-list without secrets, no file but its three
//     standard ones, and its own vendor's credentials with each call. It ends with this process, killed or not.
//
//   - What a plugin answers is checked before anybody sees it: see [core.VendorError], [core.Metadata].
//
//   - A process that has more than [Limits.Memory] is ended, on Linux. None writes core files.
//
//   - What a call sent and brought of secrets is taken out of what the plugin logs and of the text of its errors.
//
// What it does not do: it does not repeat a call, and it does not confine what a plugin does with the rights of the
// user that runs it: files, network, processor time, and children that leave its process group, which live on after it.
// A plugin is believed what it says of its own vendor's grants. Whoever can write the file decides what runs, so a
// file that others own or can write is refused, and so is one in such a folder; between the check of a digest and the start of the
// file there is a moment in which its owner may replace it.
package host
