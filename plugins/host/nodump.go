package host

import "github.com/esignd/esignd/plugins/internal/nodump"

// HideMemory turns core files off for this process and for all that it starts and, on Linux, closes its memory to other
// processes of its user, plugins among them. A program that runs plugins calls it first: it holds every client's secrets.
// It cannot be undone.
func HideMemory() error { return nodump.Set() }
