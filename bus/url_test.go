package bus

import "testing"

func TestURLIsToldWithoutItsUser(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"nats://token@host:4222", "nats://user:password@host:4222", "nats://host:4222"} {
		if got := withoutUser(raw); got != "nats://host:4222" {
			t.Errorf("got %q", got)
		}
	}
}
