package host

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esignd/esignd/core"
)

const (
	rememberedSecrets = 1024
	// shortestSecret keeps words of every day in the log, should one be a secret.
	shortestSecret = 6
)

// discretion knows the secrets that last went to and came from a plugin, and takes them out of what the plugin says where
// others read along: its log and the text of its errors. A plugin that means to can still say a secret in other
// words; one that logs a request by mistake is covered.
type discretion struct {
	verbatim bool // nothing is learned

	mu    sync.Mutex // guards what follows
	known map[string]bool
	order []string // a ring of what is known
	next  int
}

// learn remembers the secrets of a message: its fields that the protocol marks as such.
func (d *discretion) learn(m proto.Message) {
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		options, _ := field.Options().(*descriptorpb.FieldOptions)
		secret := options.GetDebugRedact()
		switch {
		case field.IsMap():
			value.Map().Range(func(_ protoreflect.MapKey, one protoreflect.Value) bool {
				d.learnOne(secret && field.MapValue().Kind() == protoreflect.StringKind, one)
				return true
			})
		case field.IsList():
			for n := range value.List().Len() {
				d.learnItem(field, secret, value.List().Get(n))
			}
		default:
			d.learnItem(field, secret, value)
		}
		return true
	})
}

func (d *discretion) learnItem(field protoreflect.FieldDescriptor, secret bool, value protoreflect.Value) {
	if field.Kind() == protoreflect.MessageKind {
		d.learn(value.Message().Interface())
		return
	}
	d.learnOne(secret && field.Kind() == protoreflect.StringKind, value)
}

func (d *discretion) learnOne(secret bool, value protoreflect.Value) {
	if d.verbatim || !secret || len(value.String()) < shortestSecret {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	text := value.String()
	if d.known[text] {
		return
	}
	if d.known == nil {
		d.known, d.order = map[string]bool{}, make([]string, rememberedSecrets)
	}
	delete(d.known, d.order[d.next])
	d.known[text], d.order[d.next] = true, text
	d.next = (d.next + 1) % rememberedSecrets
}

// clean returns the text without the secrets that are known. nil knows none.
func (d *discretion) clean(text string) string {
	if d == nil {
		return text
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for secret := range d.known {
		if strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, core.NewSecret(secret).String())
		}
	}
	return text
}
