package spotify

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/upstream"
)

// Bounds of what a result holds of others' texts, in characters.
const (
	maxName  = 200
	maxShort = 40
)

// object has the fields of tracks, episodes, albums, artists and playlists that
// are used. What Spotify took out of the answers to new applications in 2024 and
// 2026 (popularity, previews, followers, markets) is not among them:
// https://developer.spotify.com/documentation/web-api/references/changes/february-2026
type object struct {
	URI, Name string
	Artists   []struct{ Name string }
	Album     *struct{ Name string }
	Show      *struct{ Name string }
	Owner     *struct {
		DisplayName string `json:"display_name"`
	}
	DurationMS int `json:"duration_ms"`
	// Of a playlist: how many things are in it, by its new name and its old.
	Items, Tracks *struct{ Total int }
}

// entry is something in a playlist or saved. A new application gets it as item,
// an older one, and what is saved, as track.
type entry struct {
	AddedAt string `json:"added_at"`
	Item    *object
	Track   *object
}

// page is a part of a list. Spotify leaves holes in some: null is one.
type page[T any] struct {
	Items []*T
	Total int
	Next  string
}

// device of Spotify Connect.
type connectDevice struct {
	ID           string
	Name, Type   string
	IsActive     bool `json:"is_active"`
	IsRestricted bool `json:"is_restricted"`
	Volume       *int `json:"volume_percent"`
}

type playback struct {
	Device     *connectDevice
	IsPlaying  bool   `json:"is_playing"`
	ProgressMS int    `json:"progress_ms"`
	Shuffle    bool   `json:"shuffle_state"`
	Repeat     string `json:"repeat_state"`
	Kind       string `json:"currently_playing_type"`
	Context    *struct{ URI string }
	Item       *object
}

// What the tools answer.
type (
	item struct {
		URI      string `json:"uri,omitempty"` // none of what is only on the person's own machine
		Name     string `json:"name"`
		By       string `json:"by,omitempty"` // artists, a show, or who owns a playlist
		Album    string `json:"album,omitempty"`
		Duration string `json:"duration,omitempty"`
		Items    *int   `json:"items,omitempty"` // how many are in a playlist
		Added    string `json:"added,omitempty"`
		Link     string `json:"link,omitempty"`
	}
	items struct {
		Items []item `json:"items"`
		Total int    `json:"total"`
		Next  int    `json:"next_offset,omitempty"`
	}
	device struct {
		ID       string `json:"id,omitempty"`
		Name     string `json:"name"`
		Type     string `json:"type"`
		Active   bool   `json:"active"`
		Commands bool   `json:"takes_commands"`
		Volume   *int   `json:"volume_percent,omitempty"`
	}
	devices struct {
		Devices []device `json:"devices"`
	}
	playing struct {
		Playing  bool    `json:"playing"`
		Kind     string  `json:"kind,omitempty"` // track, episode, ad
		Item     *item   `json:"item,omitempty"`
		Progress string  `json:"progress,omitempty"`
		From     string  `json:"from,omitempty"` // the album, artist or playlist
		Shuffle  bool    `json:"shuffle"`
		Repeat   string  `json:"repeat,omitempty"` // off, track or context
		Device   *device `json:"device,omitempty"`
	}
	done struct {
		Done string `json:"done"`
	}
)

// uriOf is Spotify's name of a thing, if that is what it is; and id is of its
// letters and digits alone, so that nothing in it means anything in a path.
var (
	uriOf    = regexp.MustCompile(`^spotify:(track|episode|album|artist|playlist):([A-Za-z0-9]{1,40})$`)
	deviceID = regexp.MustCompile(devicePattern)
	day      = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}`)
)

// address is the URI and the link of something; Spotify wants what is shown of it
// to lead back there. Of another URI there is neither.
func address(uri string) (string, string) {
	m := uriOf.FindStringSubmatch(uri)
	if m == nil {
		return "", ""
	}
	return uri, "https://open.spotify.com/" + m[1] + "/" + m[2]
}

func duration(ms int) string {
	if ms <= 0 || ms > int(100*time.Hour/time.Millisecond) {
		return ""
	}
	s := ms / 1000
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

func (o object) item(added string) item {
	out := item{Name: upstream.Line(o.Name, maxName), Duration: duration(o.DurationMS), Added: day.FindString(added)}
	out.URI, out.Link = address(o.URI)
	var by []string
	for _, a := range o.Artists[:min(len(o.Artists), 10)] {
		by = append(by, a.Name)
	}
	if o.Show != nil {
		by = append(by, o.Show.Name)
	}
	if o.Owner != nil {
		by = append(by, o.Owner.DisplayName)
	}
	out.By = upstream.Line(strings.Join(by, ", "), maxName)
	if o.Album != nil {
		out.Album = upstream.Line(o.Album.Name, maxName)
	}
	switch {
	case o.Items != nil:
		out.Items = &o.Items.Total
	case o.Tracks != nil:
		out.Items = &o.Tracks.Total
	}
	return out
}

// list is a page as it is shown, which begins at offset and is at most so long.
func list[T any](p page[T], offset, most int, show func(T) (item, bool)) items {
	out := items{Items: []item{}, Total: max(p.Total, 0)}
	for _, t := range p.Items {
		if t == nil || len(out.Items) == most {
			continue
		}
		if i, ok := show(*t); ok {
			out.Items = append(out.Items, i)
		}
	}
	if p.Next != "" {
		// The holes were counted, too.
		out.Next = offset + min(len(p.Items), most)
	}
	return out
}

func shown(o object) (item, bool) { return o.item(""), true }

func (e entry) shown() (item, bool) {
	o := e.Item
	if o == nil {
		o = e.Track
	}
	if o == nil { // it is gone, or not for this country
		return item{}, false
	}
	return o.item(e.AddedAt), true
}

func (d connectDevice) device() device {
	out := device{Name: upstream.Line(d.Name, maxName), Type: upstream.Line(d.Type, maxShort), Active: d.IsActive, Volume: d.Volume}
	if deviceID.MatchString(d.ID) {
		out.ID = d.ID
	}
	out.Commands = out.ID != "" && !d.IsRestricted
	return out
}

func (p playback) playing() playing {
	out := playing{Playing: p.IsPlaying, Kind: upstream.Line(p.Kind, maxShort), Progress: duration(p.ProgressMS), Shuffle: p.Shuffle, Repeat: upstream.Line(p.Repeat, maxShort)}
	if p.Item != nil {
		i := p.Item.item("")
		out.Item = &i
	}
	if p.Context != nil {
		out.From, _ = address(p.Context.URI)
	}
	if p.Device != nil {
		d := p.Device.device()
		out.Device = &d
	}
	return out
}

// write puts a thing on lines of ours: its address first, then what others named.
func (i item) write(b *strings.Builder) {
	uri := i.URI
	if uri == "" {
		uri = "no address"
	}
	fmt.Fprintf(b, "[%s] %s", uri, i.Name)
	for _, part := range []string{i.By, i.Album, i.Duration} {
		if part != "" {
			b.WriteString(" · " + part)
		}
	}
	if i.Items != nil {
		fmt.Fprintf(b, " · %d items", *i.Items)
	}
	if i.Added != "" {
		b.WriteString(" · added " + i.Added)
	}
	if i.Link != "" {
		b.WriteString("\n  " + i.Link)
	}
}

func (l items) String() string {
	if len(l.Items) == 0 && l.Next == 0 {
		return "There is nothing."
	}
	var b strings.Builder
	for _, i := range l.Items {
		i.write(&b)
		b.WriteByte('\n')
	}
	if l.Next > 0 {
		fmt.Fprintf(&b, "There are more, %d in all: offset=%d", l.Total, l.Next)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (d device) write(b *strings.Builder) {
	id := d.ID
	if id == "" {
		id = "no id"
	}
	fmt.Fprintf(b, "[%s] %s · %s", id, d.Name, d.Type)
	if d.Volume != nil {
		fmt.Fprintf(b, " · volume %d %%", *d.Volume)
	}
	if d.Active {
		b.WriteString(" · active")
	}
	if !d.Commands {
		b.WriteString(" · takes no commands")
	}
}

func (l devices) String() string {
	if len(l.Devices) == 0 {
		return "There is no device: open Spotify on one."
	}
	var b strings.Builder
	for i, d := range l.Devices {
		if i > 0 {
			b.WriteByte('\n')
		}
		d.write(&b)
	}
	return b.String()
}

func (p playing) String() string {
	if p.Device == nil && p.Item == nil {
		return "Nothing plays."
	}
	var b strings.Builder
	if p.Playing {
		b.WriteString("Playing")
	} else {
		b.WriteString("Paused")
	}
	if p.Progress != "" {
		b.WriteString(" at " + p.Progress)
	}
	b.WriteString(":\n")
	if p.Item != nil {
		p.Item.write(&b)
	} else {
		b.WriteString("nothing that has a name")
	}
	if p.From != "" {
		b.WriteString("\nfrom " + p.From)
	}
	if p.Device != nil {
		b.WriteString("\non ")
		p.Device.write(&b)
	}
	return b.String()
}
