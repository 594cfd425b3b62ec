// The style sheet of the HTML report.

export const STYLE = `
body{font:15px/1.5 system-ui,sans-serif;color:#1c2128;background:#fff;margin:0}main{max-width:1100px;margin:0 auto;padding:1rem 1.5rem 4rem}
h1{font-size:1.6rem}h2{margin-top:2rem;border-bottom:1px solid #d0d7de}h3{margin:.2rem 0}code,pre{font:13px/1.4 ui-monospace,monospace}pre{margin:0;white-space:pre-wrap;word-break:break-word}
table{border-collapse:collapse;width:100%;margin:.4rem 0}td,th{text-align:left;vertical-align:top;padding:.2rem .5rem;border-bottom:1px solid #eaeef2}th{font-weight:600}
.facts th{width:7rem}.facts{width:auto}small{color:#59636e}summary{cursor:pointer;padding:.2rem 0}
.verdict{font-size:1.2rem;padding:.8rem 1rem;border-radius:6px}.good{background:#dafbe1}.bad{background:#ffebe9}
.pass,.fail,.warn,.info,.skip,.disabled,.error,.xfail,.xpass,.flaky{border-radius:4px;padding:0 .35rem;font-size:.85rem;white-space:nowrap}
.pass{background:#dafbe1}.fail,.xpass{background:#ffcecb}.error,.flaky{background:#fbdfb1}.warn,.xfail{background:#fff8c5}.info{background:#ddf4ff}.skip,.disabled{background:#eaeef2}
.failure{border:1px solid #d0d7de;border-radius:6px;padding:.8rem 1rem;margin:1rem 0}.trace td:first-child{width:4.5rem;color:#59636e}.trace td:nth-child(2){width:3rem}
.din{background:#f6f8fa}.dnote{color:#59636e;font-style:italic}.legend{columns:2;padding-left:1rem}
.sign{display:inline-block;width:1.1rem;padding:0;margin:1px;text-align:center;font:12px/1.1rem ui-monospace,monospace;color:inherit}.glance td:first-child{width:9rem}.glance a{text-decoration:none;color:inherit}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.din{background:#161b22}td,th{border-color:#21262d}.failure,h2{border-color:#30363d}small{color:#9198a1}
.good,.pass{background:#0f3d1e}.bad,.fail,.xpass{background:#67060c}.error,.flaky{background:#5a3c00}.warn,.xfail{background:#4b3d00}.info{background:#0c2d6b}.skip,.disabled{background:#30363d}a{color:#79c0ff}}
`;
