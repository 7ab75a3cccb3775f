package scale

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is a stored item, or a part of one.
type item = map[string]types.AttributeValue

// holds is a parsed condition: whether it holds for an item.
type holds func(it, values item) bool

// The conditions that adapters send, in DynamoDB's own grammar, without its
// rarer functions and without nested attributes:
//
//	or      = and {"OR" and}
//	and     = not {"AND" not}
//	not     = "NOT" not | "(" or ")" | function | operand compare operand
//	compare = "=" | "<>" | "<" | "<=" | ">" | ">="
type parser struct {
	tokens []string
	names  map[string]string
	err    error
}

var parsed sync.Map // expression → holds; expressions are few

// condition parses an expression, or returns an error that quotes it.
func condition(expression *string, names map[string]string) (holds, error) {
	if expression == nil || *expression == "" {
		return func(item, item) bool { return true }, nil
	}
	key := *expression + fmt.Sprint(names)
	if h, ok := parsed.Load(key); ok {
		return h.(holds), nil
	}
	p := &parser{tokens: words(*expression), names: names}
	h := p.or()
	if p.err == nil && len(p.tokens) > 0 {
		p.fail(p.tokens[0])
	}
	if p.err != nil {
		return nil, fmt.Errorf("the condition %q: %w", *expression, p.err)
	}
	parsed.Store(key, h)
	return h, nil
}

func words(expression string) []string {
	for _, sign := range []string{"(", ")", ",", "<=", ">=", "<>", "=", "<", ">"} {
		expression = strings.ReplaceAll(expression, sign, " "+sign+" ")
	}
	for _, split := range []string{"<  =", ">  =", "<  >"} {
		expression = strings.ReplaceAll(expression, split, strings.ReplaceAll(split, " ", ""))
	}
	return strings.Fields(expression)
}

func (p *parser) fail(at string) {
	if p.err == nil {
		p.err = fmt.Errorf("%q was not expected", at)
	}
	p.tokens = nil
}

func (p *parser) next() string {
	if len(p.tokens) == 0 {
		p.fail("its end")
		return ""
	}
	word := p.tokens[0]
	p.tokens = p.tokens[1:]
	return word
}

func (p *parser) accept(word string) bool {
	if len(p.tokens) == 0 || !strings.EqualFold(p.tokens[0], word) {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *parser) expect(word string) {
	if !p.accept(word) {
		p.fail(p.next())
	}
}

func (p *parser) or() holds {
	h := p.and()
	for p.accept("OR") {
		a, b := h, p.and()
		h = func(it, values item) bool { return a(it, values) || b(it, values) }
	}
	return h
}

func (p *parser) and() holds {
	h := p.not()
	for p.accept("AND") {
		a, b := h, p.not()
		h = func(it, values item) bool { return a(it, values) && b(it, values) }
	}
	return h
}

func (p *parser) not() holds {
	switch {
	case p.accept("NOT"):
		h := p.not()
		return func(it, values item) bool { return !h(it, values) }
	case p.accept("("):
		h := p.or()
		p.expect(")")
		return h
	case len(p.tokens) > 1 && p.tokens[1] == "(":
		return p.function()
	}
	a, sign, b := p.operand(), p.next(), p.operand()
	return func(it, values item) bool {
		n, ok := compare(a(it, values), b(it, values))
		switch sign {
		case "=":
			return ok && n == 0
		case "<>":
			return !ok || n != 0
		case "<":
			return ok && n < 0
		case "<=":
			return ok && n <= 0
		case ">":
			return ok && n > 0
		}
		return ok && n >= 0
	}
}

func (p *parser) function() holds {
	name := p.next()
	p.expect("(")
	a := p.operand()
	var h holds
	switch name {
	case "attribute_exists":
		h = func(it, values item) bool { return a(it, values) != nil }
	case "attribute_not_exists":
		h = func(it, values item) bool { return a(it, values) == nil }
	case "begins_with":
		p.expect(",")
		b := p.operand()
		h = func(it, values item) bool {
			s, ok := a(it, values).(*types.AttributeValueMemberS)
			prefix, also := b(it, values).(*types.AttributeValueMemberS)
			return ok && also && strings.HasPrefix(s.Value, prefix.Value)
		}
	default:
		p.fail(name)
	}
	p.expect(")")
	return h
}

func (p *parser) operand() func(it, values item) types.AttributeValue {
	name := p.next()
	if strings.HasPrefix(name, ":") {
		return func(_, values item) types.AttributeValue { return values[name] }
	}
	if strings.HasPrefix(name, "#") {
		if _, ok := p.names[name]; !ok {
			p.fail(name)
		}
		name = p.names[name]
	}
	return func(it, _ item) types.AttributeValue { return it[name] }
}

// compare orders two values of the same type; false: they cannot be compared.
func compare(a, b types.AttributeValue) (int, bool) {
	switch a := a.(type) {
	case *types.AttributeValueMemberS:
		if b, ok := b.(*types.AttributeValueMemberS); ok {
			return strings.Compare(a.Value, b.Value), true
		}
	case *types.AttributeValueMemberB:
		if b, ok := b.(*types.AttributeValueMemberB); ok {
			return bytes.Compare(a.Value, b.Value), true
		}
	case *types.AttributeValueMemberN:
		if b, ok := b.(*types.AttributeValueMemberN); ok {
			return compareNumbers(a.Value, b.Value), true
		}
	case *types.AttributeValueMemberBOOL:
		if b, ok := b.(*types.AttributeValueMemberBOOL); ok && a.Value == b.Value {
			return 0, true
		}
	}
	return 0, false
}
