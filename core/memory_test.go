package core_test

import (
	"testing"

	"github.com/esignd/esignd/core"
	"github.com/esignd/esignd/core/storetest"
)

func TestMemoryStoreIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) core.Store { return core.NewMemoryStore() })
}
