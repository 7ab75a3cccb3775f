package reddit

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/upstream"
)

// Bounds of what a result holds of others' texts, in characters.
const (
	maxTitle   = 300 // Reddit's own
	maxExcerpt = 300
	maxPost    = 10_000
	maxComment = 1_000
	maxLink    = 500
	maxName    = 40
)

// thing is how Reddit wraps everything: a listing, a post (t3), a comment (t1).
// https://github.com/reddit-archive/reddit/wiki/JSON
type thing struct {
	Kind string
	Data json.RawMessage
}

type listing struct {
	Data struct {
		After    string
		Children []thing
	}
}

// entry has the fields of posts, comments and accounts that are used.
type entry struct {
	ID           string
	Name         string
	Title        string
	Subreddit    string
	Author       string
	Selftext     string
	Body         string
	URL          string
	Permalink    string
	Score        int
	NumComments  int     `json:"num_comments"`
	CreatedUTC   float64 `json:"created_utc"`
	IsSelf       bool    `json:"is_self"`
	Over18       bool    `json:"over_18"`
	ParentID     string  `json:"parent_id"`
	LinkKarma    int     `json:"link_karma"`
	CommentKarma int     `json:"comment_karma"`
	Count        int     // of comments that Reddit left out
	Replies      json.RawMessage
}

func (e entry) created() string {
	if !(math.Abs(e.CreatedUTC) < 1e11) {
		return ""
	}
	return time.Unix(int64(e.CreatedUTC), 0).UTC().Format(time.RFC3339)
}

// What the tools answer.
type (
	post struct {
		ID        string `json:"id"` // its full name, t3_…
		Title     string `json:"title"`
		Subreddit string `json:"subreddit"`
		Author    string `json:"author"`
		Created   string `json:"created"`
		Score     int    `json:"score"`
		Comments  int    `json:"comments"`
		NSFW      bool   `json:"nsfw"`
		Permalink string `json:"permalink"`
		Link      string `json:"link,omitempty"` // where a link post leads
		Text      string `json:"text,omitempty"`
	}
	posts struct {
		Posts []post `json:"posts"`
		After string `json:"after,omitempty"`
	}
	comment struct {
		ID      string `json:"id"` // its full name, t1_…
		Parent  string `json:"parent"`
		Depth   int    `json:"depth"`
		Author  string `json:"author"`
		Created string `json:"created"`
		Score   int    `json:"score"`
		Text    string `json:"text"`
	}
	thread struct {
		Post     post      `json:"post"`
		Comments []comment `json:"comments"`
		More     int       `json:"more"` // comments that are not among these
	}
	made struct {
		ID        string `json:"id"`
		Permalink string `json:"permalink,omitempty"`
	}
	account struct {
		ID           string `json:"id"`
		Name         string `json:"name"`
		Created      string `json:"created"`
		LinkKarma    int    `json:"link_karma"`
		CommentKarma int    `json:"comment_karma"`
	}
)

// permalink is the address of what Reddit names by a path or in full.
func permalink(path string) string {
	if strings.HasPrefix(path, "/") {
		path = "https://www.reddit.com" + path
	}
	return upstream.Line(path, maxLink)
}

func (e entry) post(most int) post {
	p := post{ID: upstream.Line(e.Name, maxName), Title: upstream.Line(e.Title, maxTitle), Subreddit: upstream.Line(e.Subreddit, maxName), Author: upstream.Line(e.Author, maxName),
		Created: e.created(), Score: e.Score, Comments: e.NumComments, NSFW: e.Over18, Permalink: permalink(e.Permalink), Text: upstream.Plain(e.Selftext, most)}
	if !e.IsSelf {
		p.Link = upstream.Line(e.URL, maxLink)
	}
	return p
}

// posts are the posts of a listing; other things are left out.
func (l listing) posts(most, text int) (posts, error) {
	out := posts{Posts: []post{}, After: upstream.Line(l.Data.After, maxName)}
	for _, t := range l.Data.Children {
		if t.Kind != "t3" || len(out.Posts) == most {
			continue
		}
		var e entry
		if err := json.Unmarshal(t.Data, &e); err != nil {
			return posts{}, errShape
		}
		out.Posts = append(out.Posts, e.post(text))
	}
	return out, nil
}

var errShape = upstream.NotExpected("Reddit")

// add appends comments in the order in which they are read, down to so deep and
// to so many; the rest is counted as far as Reddit says.
func (t *thread) add(children []thing, depth, deepest, most int) error {
	for _, c := range children {
		var e entry
		if err := json.Unmarshal(c.Data, &e); err != nil {
			return errShape
		}
		switch {
		case c.Kind == "more":
			t.More += max(e.Count, 0)
			continue
		case c.Kind != "t1":
			continue
		case depth > deepest || len(t.Comments) >= most:
			t.More++
			continue
		}
		t.Comments = append(t.Comments, comment{ID: upstream.Line(e.Name, maxName), Parent: upstream.Line(e.ParentID, maxName), Depth: depth,
			Author: upstream.Line(e.Author, maxName), Created: e.created(), Score: e.Score, Text: upstream.Plain(e.Body, maxComment)})
		if len(e.Replies) == 0 || e.Replies[0] != '{' {
			continue // "" stands for none
		}
		var below listing
		if err := json.Unmarshal(e.Replies, &below); err != nil {
			return errShape
		}
		if err := t.add(below.Data.Children, depth+1, deepest, most); err != nil {
			return err
		}
	}
	return nil
}

func (p post) write(b *strings.Builder) {
	fmt.Fprintf(b, "[%s] %s\n  r/%s · u/%s · %s · %d points · %d comments", p.ID, p.Title, p.Subreddit, p.Author, p.Created, p.Score, p.Comments)
	if p.NSFW {
		b.WriteString(" · NSFW")
	}
	fmt.Fprintf(b, "\n  %s", p.Permalink)
	if p.Link != "" {
		fmt.Fprintf(b, "\n  links to %s", p.Link)
	}
	upstream.Quote(b, "  ", p.Text)
}

func (l posts) String() string {
	var b strings.Builder
	if len(l.Posts) == 0 {
		b.WriteString("There are no posts.")
	}
	for i, p := range l.Posts {
		if i > 0 {
			b.WriteByte('\n')
		}
		p.write(&b)
	}
	if l.After != "" {
		fmt.Fprintf(&b, "\nThere are more: after=%s", l.After)
	}
	return b.String()
}

func (t thread) String() string {
	var b strings.Builder
	t.Post.write(&b)
	for _, c := range t.Comments {
		indent := strings.Repeat("  ", c.Depth)
		fmt.Fprintf(&b, "\n%s[%s] u/%s · %s · %d points", indent, c.ID, c.Author, c.Created, c.Score)
		upstream.Quote(&b, indent+"  ", c.Text)
	}
	if t.More > 0 {
		fmt.Fprintf(&b, "\n%d more comments are not shown.", t.More)
	}
	return b.String()
}
