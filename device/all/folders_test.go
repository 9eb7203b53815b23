package all

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// folder is what the sources of a package and those beside its tests say.
type folder struct {
	conforms bool // its tests run the conformance suite
	fuzzes   bool
	imports  []string // of ours, without its tests': "oximeter/line"
}

func look(t *testing.T, dir string) (f folder) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(p) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if strings.HasSuffix(p, "_test.go") {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					f.fuzzes = f.fuzzes || strings.HasPrefix(n.Name.Name, "Fuzz")
				case *ast.SelectorExpr:
					pkg, _ := n.X.(*ast.Ident)
					f.conforms = f.conforms || pkg != nil && pkg.Name == "conformance" && (n.Sel.Name == "Run" || n.Sel.Name == "Chip")
				}
				return true
			})
			return nil
		}
		for _, i := range file.Imports {
			if ours, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), "telecart/device/"); ok {
				f.imports = append(f.imports, ours)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return f
}

// Every driver is one folder, held to the suite, with its parsers fuzzed: its own, or those of a package that it shares with others.
func TestFolders(t *testing.T) {
	parsers := map[string]bool{"evdev": true, "oximeter/line": true, "oximeter": true, "ppg": true, "ecg": true}
	// What reads nothing from outside but numbers that the kernel writes, or a sound server's values, any of which is sound.
	plain := map[string]bool{"light": true, "voice": true}
	for _, d := range Table() {
		if _, err := os.Stat("../" + d.Name); err != nil {
			t.Errorf("%s: its folder is not called as it is: %v", d.Name, err)
			continue
		}
		f := look(t, "../"+d.Name)
		if !f.conforms {
			t.Errorf("%s: no test calls conformance.Run or conformance.Chip", d.Name)
		}
		fuzzed := f.fuzzes || plain[d.Name]
		for _, i := range f.imports {
			fuzzed = fuzzed || parsers[i] && look(t, "../"+i).fuzzes
		}
		if !fuzzed {
			t.Errorf("%s: no fuzz target: what parses its bytes or registers needs one", d.Name)
		}
	}
}
