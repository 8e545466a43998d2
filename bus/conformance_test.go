package bus

import (
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/core/storetest"
)

func TestPublisherConforms(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		storetest.RunPublisher(t, func(t *testing.T) core.Publisher {
			return openBus(t, embeddedConfig(t.TempDir())).Publisher()
		})
	})
	t.Run("external", func(t *testing.T) {
		storetest.RunPublisher(t, func(t *testing.T) core.Publisher {
			return openBus(t, externalConfig(t, startExternal(t, nil).ClientURL())).Publisher()
		})
	})
}

func TestStoreConforms(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) core.Store {
			return openBus(t, embeddedConfig(t.TempDir())).Store()
		})
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		storetest.Run(t, func(t *testing.T) core.Store {
			return openBus(t, externalConfig(t, startExternal(t, nil).ClientURL())).Store()
		})
	})
}
