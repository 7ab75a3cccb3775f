package connection_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// TestClone fills every field, so that one that is new is seen.
func TestClone(t *testing.T) {
	t.Parallel()
	var c connection.Connection
	fill(reflect.ValueOf(&c).Elem())
	copied := c.Clone()
	if !reflect.DeepEqual(c, copied) {
		t.Errorf("the copy is another one: %+v, %+v", c, copied)
	}
	seen := map[uintptr]string{}
	references(reflect.ValueOf(c), "", func(path string, at uintptr) { seen[at] = path })
	if len(seen) < 12 {
		t.Errorf("only %d references were found", len(seen))
	}
	references(reflect.ValueOf(copied), "", func(path string, at uintptr) {
		if of, ok := seen[at]; ok {
			t.Errorf("the copy shares %s, as %s", of, path)
		}
	})
	if none := (connection.Connection{}).Clone(); !reflect.DeepEqual(none, connection.Connection{}) {
		t.Errorf("the copy of nothing is %+v", none)
	}
}

// fill gives each field a value, each list an element.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8:
		v.SetUint(1)
	default:
		panic(fmt.Sprintf("a %s is not filled", v.Kind()))
	}
}

// references calls each with what can be changed through the value.
func references(v reflect.Value, path string, each func(path string, at uintptr)) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		each(path, v.Pointer())
		references(v.Elem(), path, each)
	case reflect.Struct:
		for i := range v.NumField() {
			references(v.Field(i), path+"."+v.Type().Field(i).Name, each)
		}
	case reflect.Slice:
		each(path, v.Pointer())
		for i := range v.Len() {
			references(v.Index(i), path+"[]", each)
		}
	case reflect.Map:
		each(path, v.Pointer())
	}
}
