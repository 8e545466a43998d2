package bus

import (
	"context"
	"fmt"
	"syscall"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The attributes of room, and the folders.
const (
	folderKey       = attribute.Key("esignd.folder")
	spaceKey        = attribute.Key("system.filesystem.state")
	folderData      = "data_dir"
	folderJetStream = "jetstream"
)

// room is what there is on a file system, in bytes.
type room struct{ used, free, reserved uint64 }

// roomIn reads how much room there is for the files of a folder. What is reserved is for root alone.
func roomIn(folder string) (room, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		return room{}, fmt.Errorf("read how much room there is in %s: %w", folder, err)
	}
	block := uint64(disk.Bsize) //nolint:gosec // a block has a size above 0
	return room{used: (disk.Blocks - disk.Bfree) * block, free: disk.Bavail * block, reserved: (disk.Bfree - disk.Bavail) * block}, nil
}

// observeRoom tells the room on the file systems of the folders that are written, by OpenTelemetry's conventions.
func (x *metrics) observeRoom(s *session, to metric.Observer) {
	folders := map[string]string{folderData: s.dir.path}
	if s.server != nil {
		folders[folderJetStream] = s.server.store // which may be a disk of its own
	}
	for name, path := range folders {
		there, err := roomIn(path)
		if err != nil {
			continue // it is told by what cannot be written
		}
		for state, bytes := range map[string]uint64{"used": there.used, "free": there.free, "reserved": there.reserved} {
			to.ObserveInt64(x.room, whole(bytes), metric.WithAttributes(folderKey.String(name), spaceKey.String(state)))
		}
	}
}

// observeJetStream tells what JetStream has on disk, and how much it may have, which can be less than there is room for:
// of the embedded server, or of esignd's account at another.
func (x *metrics) observeJetStream(ctx context.Context, s *session, to metric.Observer) {
	used, limit, ok := s.jetStreamStorage(ctx)
	if !ok {
		return
	}
	to.ObserveInt64(x.storage, whole(used))
	if limit > 0 {
		to.ObserveInt64(x.storageLimit, limit)
	}
}

// jetStreamStorage returns what JetStream has on disk and may have; a limit below 1 is none.
func (s *session) jetStreamStorage(ctx context.Context) (used uint64, limit int64, ok bool) {
	if s.server != nil {
		js, err := s.server.srv.Jsz(nil)
		if err != nil {
			return 0, 0, false
		}
		return js.Store, js.Config.MaxStore, true
	}
	if !s.state.IsConnected() {
		return 0, 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, streamLook)
	defer cancel()
	account, err := s.js.AccountInfo(ctx)
	if err != nil {
		return 0, 0, false
	}
	if tier, tiered := account.Tiers[fmt.Sprintf("R%d", max(1, s.cfg.Replicas))]; tiered {
		return tier.Store, tier.Limits.MaxStore, true
	}
	return account.Store, account.Limits.MaxStore, true
}
