package presets

// Problem is one thing that is wrong with a preset.
type Problem struct {
	// Path is where, as a YAML path: $.parameters.shop.pattern. The loader
	// turns it into file and line.
	Path    string
	Message string
}
