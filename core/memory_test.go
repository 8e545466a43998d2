package core_test

import (
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/core/storetest"
)

func TestMemoryStoreIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) core.Store { return core.NewMemoryStore() })
}

func TestMemoryPublisherIsAPublisher(t *testing.T) {
	storetest.RunPublisher(t, func(*testing.T) core.Publisher { return core.NewMemoryPublisher() })
}
