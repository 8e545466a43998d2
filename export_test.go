package esignd

import "slices"

// What the tests look into.
var (
	PatternWords = patternWords
	VariableOf   = variableOf
)

func Document(c Config) map[string]any { return c.document() }

func WithDefaults(c Config) Config { return c.withDefaults() }

func Overridable() []string { return slices.Clone(overridable[:]) }

func CompileSchema(schema []byte) error {
	_, err := compile(schema)
	return err
}

func SharedCallbacks(c Config) []string { return c.sharedCallbacks() }
