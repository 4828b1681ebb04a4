// Verifies a published log with golang.org/x/mod/sumdb, which knows nothing of Remit: the signature, every entry's
// inclusion, every tile's hashes, and consistency with an earlier checkpoint. Exit 0 when all of it holds.
//
//	sumdb FOLDER VKEY [EARLIER]
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type reader struct{ folder string }

func (r reader) Height() int { return height }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		// Paths of x/mod begin with the height: tile/8/0/001; those of c2sp.org/tlog-tiles do not.
		path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
		data, err := os.ReadFile(filepath.Join(r.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func check(err error) {
	if err != nil {
		fmt.Println("rejected:", err)
		os.Exit(1)
	}
}

func refuse(format string, values ...interface{}) { check(fmt.Errorf(format, values...)) }

func checkpoint(path string, verifier note.Verifier) tlog.Tree {
	data, err := os.ReadFile(path)
	check(err)
	opened, err := note.Open(data, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		refuse("the checkpoint's text is not of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	tree := tlog.Tree{N: size}
	if copy(tree.Hash[:], root) != tlog.HashSize || len(root) != tlog.HashSize {
		refuse("the root is no hash")
	}
	return tree
}

func bundlePath(index, width int64) string {
	tile := tlog.Tile{H: height, L: -1, N: index, W: int(width)}
	return "tile/entries/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/data/", height))
}

func main() {
	folder := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	tree := checkpoint(filepath.Join(folder, "checkpoint"), verifier)
	hashes := tlog.TileHashReader(tree, reader{folder})
	var count int64
	for count < tree.N {
		width := tree.N - count
		if width > 1<<height {
			width = 1 << height
		}
		data, err := os.ReadFile(filepath.Join(folder, bundlePath(count>>height, width)))
		check(err)
		for place := int64(0); place < width; place++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				refuse("the bundle of entry %d is cut off", count)
			}
			length := int(binary.BigEndian.Uint16(data))
			entry := data[2 : 2+length]
			data = data[2+length:]
			leaf := tlog.RecordHash(entry)
			proof, err := tlog.ProveRecord(tree.N, count, hashes)
			check(err)
			check(tlog.CheckRecord(proof, tree.N, tree.Hash, count, leaf))
			count++
		}
		if len(data) != 0 {
			refuse("the bundle before entry %d has more in it", count)
		}
	}
	if len(os.Args) > 3 {
		earlier := checkpoint(os.Args[3], verifier)
		if earlier.N > tree.N {
			refuse("the log had %d entries and has %d", earlier.N, tree.N)
		}
		proof, err := tlog.ProveTree(tree.N, earlier.N, hashes)
		check(err)
		check(tlog.CheckTree(proof, tree.N, tree.Hash, earlier.N, earlier.Hash))
	}
	// Every stored hash, so that no tile is left unread.
	for level := 0; level < 40; level++ {
		for n := int64(0); (n+1)<<uint(level) <= tree.N; n++ {
			_, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(level, n)})
			check(err)
		}
	}
	fmt.Println("accepted:", tree.N)
}
