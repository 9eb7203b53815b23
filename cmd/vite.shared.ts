import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin, type UserConfig } from "vite";

// Go embeds dist as a whole and needs it to exist in a fresh checkout: dist/.keep is tracked, so the folder is emptied
// around it.
function emptyButKeep(dir: string): Plugin {
  return {
    name: "empty-but-keep",
    apply: "build",
    buildStart() {
      if (!existsSync(dir)) return;
      for (const f of readdirSync(dir)) if (f !== ".keep") rmSync(join(dir, f), { recursive: true });
    },
  };
}

/** The build of one screen; `backend` is where a development server finds its daemon. */
export function screen(root: string, galleryOut: string, backend: string) {
  return defineConfig(({ mode }): UserConfig => {
    const gallery = mode === "gallery";
    const outDir = gallery ? galleryOut : join(root, "dist");
    return {
      root,
      base: "./",
      esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
      plugins: gallery ? [] : [emptyButKeep(outDir)],
      build: {
        outDir,
        emptyOutDir: gallery,
        target: ["es2022"],
        assetsInlineLimit: 0, // scripts and styles come from the page itself, by its policy
        modulePreload: { polyfill: false },
        rollupOptions: { input: join(root, gallery ? "gallery.html" : "index.html") },
      },
      server: { proxy: { "/api": { target: backend, ws: true }, "/v1": { target: backend, ws: true } } },
    };
  });
}
