// Package courier carries sealed items on a stick, through anybody's hands, to the hub, and receipts back.
//
// Parties: the cart exports (its agent may run, and no private key is needed); the carrier needs no rights and learns what
// the finder of a cart learns; the hub imports, each item by the very path of a PUT; the cart takes the receipts from its inbox.
//
// Keys: none here. Items are sealed. A receipt is signed by the hub. Where a link shows a certificate, a stick shows ledger
// heads signed by the cart's device key, and the entries that lead from a head to each item: what no head leads to could have been
// made by anybody who knows the public record key, and is imported only if an operator says so.
//
// Invariants: a file is whole or is used up to its cut; what is damaged is named and costs itself alone. Nothing on the stick
// is ever the only copy: an item leaves the cart only by its receipt, grace and backup, as always. Export and import may be
// repeated. An export leaves room on the stick for the receipts of all that is on it. Names and sizes fit FAT (8 to 40 of a-z 0-9 -
// and one dot; below 4 GiB). Everything from a stick is bounded, and what is no regular file there is passed over.
//
// # Format 1
//
// Integers are big endian. FOLDER/TELECART/ holds files BOOK-NNNN.tcc (from the cart) and BOOK.tcr (from the hub); BOOK is the first
// 12 hexadecimal digits of SHA-256("tenant/cart"), then -care or -practice. A file that ends in .part was cut off.
//
//	file     frames, the first of type B
//	frame    mark 8 (8D 54 43 46 52 4D 31 0A) | type 1 | length 8 | CRC-32C of these 17 bytes 4 | payload | CRC-32C of the payload 4
//	  B      version 1 (01) | tenant 1+n | cart 1+n | practice 1: whose book it is. Then, in any order:
//	  K      the signed key list that the sender has, JSON (wire.SignedKeyList)
//	  H      a signed head: incarnation 16 | number 8 | hash 32 | signature 2+n
//	  E      ledger entries, 105 bytes each, items' included: at most 4096
//	  I      an item, exactly as a PUT's body: length of the manifest 4 | manifest | for each chunk: index 4 | length 4 | bytes
//	  W      the hub's backup watermark, JSON (wire.Watermark)
//	  R      a receipt (wire.Receipt)
//	  Z      the end: number of frames before it 8
//
// Who reads finds the next frame by its mark when one is damaged. Unknown types are passed over. An item's payload needs no
// trust in its CRC: its manifest and each of its chunks are checked by hash.
package courier
