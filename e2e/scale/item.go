package scale

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// pack writes an item as bytes: each attribute's name, type and value.
func pack(it item) []byte {
	var b []byte
	bytesOf := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for name, value := range it {
		bytesOf(name)
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			b = append(b, 'S')
			bytesOf(v.Value)
		case *types.AttributeValueMemberN:
			b = append(b, 'N')
			bytesOf(v.Value)
		case *types.AttributeValueMemberB:
			b = append(b, 'B')
			bytesOf(string(v.Value))
		case *types.AttributeValueMemberBOOL:
			b = append(b, 'T')
			bytesOf(strings.Repeat("t", map[bool]int{true: 1}[v.Value]))
		default:
			panic(fmt.Sprintf("an attribute of the type %T is not played here", value))
		}
	}
	return slices.Clip(b)
}

// unpack reads what pack wrote; nil is no item.
func unpack(b []byte) item {
	if b == nil {
		return nil
	}
	next := func() string {
		n, width := binary.Uvarint(b)
		s := string(b[width : width+int(n)])
		b = b[width+int(n):]
		return s
	}
	it := make(item, 12)
	for len(b) > 0 {
		name, kind := next(), b[0]
		b = b[1:]
		switch value := next(); kind {
		case 'S':
			it[name] = &types.AttributeValueMemberS{Value: value}
		case 'N':
			it[name] = &types.AttributeValueMemberN{Value: value}
		case 'B':
			it[name] = &types.AttributeValueMemberB{Value: []byte(value)}
		default:
			it[name] = &types.AttributeValueMemberBOOL{Value: value == "t"}
		}
	}
	return it
}
