package capture

import "testing"

func TestAlike(t *testing.T) {
	maria := Patient{ID: "100", Name: "María López", BirthDate: "2019-04-02"}
	for _, c := range []struct {
		a, b Patient
		want bool
	}{
		{maria, maria, false},
		{maria, Patient{ID: "200", Name: "Lopez Mario", BirthDate: "2017-09-30"}, true},
		{maria, Patient{ID: "300", Name: "Joachim Quint", BirthDate: "1950-01-01"}, false},
		{Patient{ID: "1", Name: "X", BirthDate: "2020-01-01"}, Patient{ID: "2", Name: "Completely Other", BirthDate: "2020-01-01"}, true},
		{Patient{ID: "1", Name: "Jürgen Müller"}, Patient{ID: "2", Name: "MULLER, Jurgen"}, true},
		{Patient{ID: "1", Name: "Nguyễn Văn An"}, Patient{ID: "2", Name: "Nguyen Van An"}, true},
		{Patient{ID: "1", Name: "Jose\u0301"}, Patient{ID: "2", Name: "José"}, true},
		{Patient{ID: "1", Name: "Smith Anna"}, Patient{ID: "2", Name: "Smiht Anna"}, true}, // swapped neighbours
		{Patient{ID: "1", Name: "Li"}, Patient{ID: "2", Name: "Lu"}, false},
		{Patient{ID: "1", Name: "Anna Berg"}, Patient{ID: "2", Name: "Otto Berg"}, false},
		{Patient{ID: "1"}, Patient{ID: "2"}, false},
	} {
		if got := Alike(c.a, c.b); got != c.want || Alike(c.b, c.a) != c.want {
			t.Errorf("%s, %s: %v", c.a.ID+" "+c.a.Name, c.b.ID+" "+c.b.Name, got)
		}
	}
}

func FuzzAlike(f *testing.F) {
	f.Add("María López", "Lopez Mario")
	f.Add("\xff\xfe", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := Patient{ID: "1", Name: a}, Patient{ID: "2", Name: b}
		if Alike(x, y) != Alike(y, x) {
			t.Error("not the same both ways")
		}
	})
}
