package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esignd/esignd/tests/scratch"
)

// NextRelease is the binary of an esignd that writes grants in the format after the present one, with a member that the
// present one does not know. It takes a record that has lost that member for damaged.
const NextRelease = "esignd-next"

// edits make the next release of the present sources, by file.
var edits = map[string][][2]string{
	"core/grant.go": {
		{"	Generation uint64        `json:\"generation\"`\n", "	Generation uint64        `json:\"generation\"`\n	Later string `json:\"later,omitempty\"`\n"},
	},
	"core/record.go": {
		{"const grantFormat = 1\n", "const grantFormat = 2\n"},
		{"	g.Format = max(g.Format, grantFormat)\n", "	g.Format, g.Later = grantFormat, \"kept\"\n"},
		{"	if kindGrant+g.ID != r.Key {\n", "	if g.Format == 2 && g.Later != \"kept\" {\n		return nil, fmt.Errorf(\"record %s has lost a member: %w\", r.Key, ErrDamaged)\n	}\n	if kindGrant+g.ID != r.Key {\n"},
	},
}

// buildNext makes NextRelease in dir.
func buildNext(dir string, build func(args ...string) error) error {
	root, err := scratch.Root()
	if err != nil {
		return err
	}
	sources, err := os.MkdirTemp("", "esignd-next-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(sources) }()
	replace := map[string]string{}
	for name, changes := range edits {
		original := filepath.Join(root, name)
		b, err := os.ReadFile(original)
		if err != nil {
			return err
		}
		text := string(b)
		for _, change := range changes {
			if strings.Count(text, change[0]) != 1 {
				return fmt.Errorf("the next release cannot be made: %s has not once %q", name, change[0])
			}
			text = strings.Replace(text, change[0], change[1], 1)
		}
		replace[original] = filepath.Join(sources, filepath.Base(name))
		if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
			return err
		}
	}
	overlay := filepath.Join(sources, "overlay.json")
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, b, 0o600)
	}
	if err != nil {
		return err
	}
	return build("-overlay", overlay, "-o", filepath.Join(dir, NextRelease), module+"cmd/esignd")
}
