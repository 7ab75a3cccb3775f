package presets

import "embed"

// files are the presets that come with Lanyard. Overlays have the same shape.
//
//go:embed providers/*.yaml servers/*.yaml catalogues/*.json locks/*/package.json locks/*/package-lock.json locks/*/requirements.in locks/*/requirements.txt
var files embed.FS
